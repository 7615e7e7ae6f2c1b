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

}  // namespace

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
