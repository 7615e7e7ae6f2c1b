#include "nlohmann/json.hpp"
#include "tests/quality/report_tables.h"

namespace polarkv::quality {
namespace {

using Json = nlohmann::json;

Json SidesJson(const SideBits& bits) { return {{"k", bits.k}, {"v", bits.v}}; }

Json ResultJson(const RunResults& run, const Result& result) {
  Json json = {{"scheme", run.schemes[result.scheme].name},
               {"case", run.inputs[result.input].name},
               {"bits", SidesJson(result.bits)},
               {"net_bits", SidesJson(result.net)}};
  for (const MeasureField& field : MeasureFields()) json[field.name] = result.measures.*field.value;
  return json;
}

SideBits ReadSides(const Json& json) { return {json.at("k").get<double>(), json.at("v").get<double>()}; }

// Throws where an entry is missing or of another type.
ReadRun ReadRunFrom(const Json& json) {
  ReadRun read;
  RunResults& run = read.run;
  read.notes = {json.at("profile").get<std::string>(), json.at("block_tokens").get<uint32_t>()};
  for (const Json& scheme : json.at("schemes")) {
    run.schemes.push_back({scheme.at("name").get<std::string>(), scheme.at("family").get<std::string>(),
                           scheme.at("aliases").get<std::string>(),
                           scheme.at("kind") == "codec" ? SchemeKind::kCodec : SchemeKind::kBaseline});
  }
  for (const Json& input : json.at("cases")) {
    run.inputs.push_back({input.at("name").get<std::string>(), input.at("group").get<std::string>(),
                          input.at("bias").get<double>(), input.at("tokens").get<uint32_t>(),
                          input.at("head_dim").get<uint32_t>()});
  }
  for (const Json& entry : json.at("results")) {
    Result result{run.SchemeNamed(entry.at("scheme").get<std::string>()),
                  run.InputNamed(entry.at("case").get<std::string>()), ReadSides(entry.at("bits")),
                  ReadSides(entry.at("net_bits")), Measures{}};
    for (const MeasureField& field : MeasureFields()) result.measures.*field.value = entry.at(field.name).get<double>();
    if (result.scheme < run.schemes.size() && result.input < run.inputs.size()) run.results.push_back(result);
  }
  for (const Json& entry : json.at("omissions")) {
    run.omissions.push_back({run.SchemeNamed(entry.at("scheme").get<std::string>()),
                             run.InputNamed(entry.at("case").get<std::string>()),
                             entry.at("reason").get<std::string>()});
  }
  return read;
}

}  // namespace

absl::StatusOr<ReadRun> ReadJsonReport(const std::string& text) {
  try {
    return ReadRunFrom(Json::parse(text));
  } catch (const Json::exception& error) {
    return absl::InvalidArgumentError(std::string("not a report of polarkv-quality: ") + error.what());
  }
}

std::string JsonReport(const RunResults& run, const std::vector<Bar>& bars, const RunNotes& notes) {
  Json json = {{"profile", notes.profile}, {"block_tokens", notes.block_tokens}};
  for (const char* list : {"schemes", "cases", "results", "omissions", "bars"}) json[list] = Json::array();
  for (const SchemeInfo& scheme : run.schemes) {
    json["schemes"].push_back({{"name", scheme.name},
                               {"family", scheme.family},
                               {"aliases", scheme.aliases},
                               {"kind", scheme.kind == SchemeKind::kCodec ? "codec" : "baseline"}});
  }
  for (const CaseInfo& input : run.inputs) {
    json["cases"].push_back({{"name", input.name},
                             {"group", input.group},
                             {"bias", input.bias},
                             {"tokens", input.tokens},
                             {"head_dim", input.head_dim}});
  }
  for (const Result& result : run.results) json["results"].push_back(ResultJson(run, result));
  for (const Omission& omission : run.omissions) {
    json["omissions"].push_back({{"scheme", run.schemes[omission.scheme].name},
                                 {"case", run.inputs[omission.input].name},
                                 {"reason", omission.reason}});
  }
  for (const Bar& bar : bars) {
    json["bars"].push_back({{"scheme", bar.scheme},
                            {"what", bar.what},
                            {"value", bar.value},
                            {"low", bar.low},
                            {"high", bar.high},
                            {"holds", bar.Holds()}});
  }
  return json.dump(1) + "\n";
}

}  // namespace polarkv::quality
