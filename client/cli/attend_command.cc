#include <cmath>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "client/cli/cli_status.h"
#include "client/cli/commands.h"
#include "client/cli/device_option.h"
#include "client/cli/pkv_file.h"
#include "client/cli/profile_file.h"
#include "client/cli/progress_line.h"
#include "client/cli/query_tensor.h"
#include "client/cli/safetensors.h"
#include "client/cli/selected_block.h"
#include "client/cli/text_format.h"
#include "kernels/device_kernels.h"
#include "nlohmann/json.hpp"

namespace polarkv::cli {
namespace {

struct AttendOptions {
  std::vector<std::string> blocks;
  std::string query, out, profile, device = "auto";
  std::optional<uint32_t> planes;
  bool json = false;
};

constexpr char kFooter[] =
    R"(Attends on the compressed blocks as they are, as a worker does; nothing is decompressed on the way.

Query: a safetensors file with tensor `q`, [layers, q_heads, queries, head_dim], F16, BF16 or F32, after RoPE. q_heads is a
multiple of the blocks' kv_heads: query head h reads KV head h / (q_heads / kv_heads). Scores are scaled by
1/sqrt(head_dim). There is no causal mask: every query sees every token of every block.

Output: a safetensors file with `o`, F32, of q's shape, and `lse`, F32 [layers, q_heads, queries], the natural logarithm of
each row's sum of exponentials. With both, the result merges with attention over other tokens: o weighted by exp(lse).

Without --planes all that is stored is read. --planes N reads turbo codes at N bits, 2, 3 or 4, as a reader does that
fetched fewer planes: turbo3 and turbo4 at N if they have as many, turbo5 at 3 at least, for its base plane holds three.
Keys of turbo<b>q likewise; their residual is left out where bits of their codes are, and read where the codes are whole.
Other codecs are read whole.

--device: CPU and GPU round alike, but not in the same order (kernels/README.md); the summary says which did it.

Examples:
  polarkv attend --block kv.pkv --query q.safetensors --out out.safetensors
  polarkv attend --block first.pkv --block second.pkv --query q.safetensors --out out.safetensors
  polarkv attend --block kv.pkv --planes 2 --query q.safetensors --out out.safetensors)";

absl::StatusOr<std::vector<PkvFile>> OpenBlocks(const std::vector<std::string>& paths,
                                                const KeyMeanProfilePtr& profile) {
  std::vector<PkvFile> files;
  for (const std::string& path : paths) {
    absl::StatusOr<PkvFile> file = PkvFile::Open(path, profile);
    if (!file.ok()) return file.status();
    if (absl::Status s = CheckProfileGiven(*file); !s.ok()) return s;
    files.push_back(*std::move(file));
    for (size_t i = 0; i < files.back().blocks().size(); ++i) {
      const absl::Status same = CheckSameShape(files.front().blocks().front().spec(), files.back().blocks()[i].spec());
      if (!same.ok()) return Annotate(same, path + ": block " + std::to_string(i));
    }
  }
  return files;
}

// Views of one layer of all blocks, in order: the blocks themselves, or copies with fewer planes. Move-only.
struct LayerViews {
  std::vector<BlockView> views;
  std::vector<SelectedBlock> copies;
};

// `bits` of each turbo code; all if there is none.
absl::StatusOr<LayerViews> ViewLayer(const std::vector<PkvFile>& files, uint32_t layer, std::optional<uint32_t> bits) {
  LayerViews result;
  for (const PkvFile& file : files) {
    for (const BlockView& block : file.blocks()) {
      const LayerLayout& layout = block.layout().layer(layer);
      const PlaneMask planes = bits ? PlanesForBits(layout.codec, *bits) : kAllPlanes;
      if ((layout.planes & ~planes) == 0) {
        result.views.push_back(block);
        continue;
      }
      absl::StatusOr<SelectedBlock> copy = SelectedBlock::Copy(block, {layer, layer + 1, planes});
      if (!copy.ok()) return Annotate(copy.status(), file.path());
      result.copies.push_back(*std::move(copy));
      result.views.push_back(result.copies.back().view());
    }
  }
  return result;
}

absl::Status AttendAll(const std::vector<PkvFile>& files, const QueryTensor& query, std::optional<uint32_t> bits,
                       DeviceKernels& kernels, SafetensorsWriter* out) {
  ProgressLine progress("attending", query.layers(), "layers");
  const float scale = 1 / std::sqrt(static_cast<float>(query.head_dim()));
  const size_t rows = size_t{query.heads()} * query.queries();
  std::vector<float> o(rows * query.head_dim()), lse(rows);
  absl::StatusOr<LayerViews> now = ViewLayer(files, 0, bits);
  for (uint32_t layer = 0; layer < query.layers(); ++layer) {
    if (!now.ok()) return now.status();
    absl::StatusOr<LayerViews> next = LayerViews();
    if (layer + 1 < query.layers()) next = ViewLayer(files, layer + 1, bits);
    if (!next.ok()) return next.status();
    const DeviceKernels::NextLayer ahead{next->views, layer + 1};
    const std::vector<float> q = query.Layer(layer);
    if (absl::Status s = kernels.Attend(now->views, layer, query.heads(), query.queries(), q, scale, o, lse, &ahead);
        !s.ok()) {
      return Annotate(s, "layer " + std::to_string(layer));
    }
    if (absl::Status s = out->Write(0, layer * o.size(), o); !s.ok()) return s;
    if (absl::Status s = out->Write(1, layer * lse.size(), lse); !s.ok()) return s;
    progress.Update(layer + 1);
    now = std::move(next);
  }
  return absl::OkStatus();
}

absl::Status CheckOptions(const AttendOptions& options) {
  if (options.planes && (*options.planes < 2 || *options.planes > 4)) {
    return UsageError("--planes is 2, 3 or 4 (bits of each turbo code)");
  }
  if (IsSameFile(options.query, options.out)) return UsageError("--query and --out are the same file");
  for (const std::string& path : options.blocks) {
    if (IsSameFile(path, options.out)) return UsageError("--block " + path + " and --out are the same file");
  }
  return absl::OkStatus();
}

absl::Status RunAttend(const AttendOptions& options) {
  if (absl::Status s = CheckOptions(options); !s.ok()) return s;
  const absl::StatusOr<std::unique_ptr<DeviceKernels>> kernels = OpenDevice(options.device);
  if (!kernels.ok()) return kernels.status();
  const absl::StatusOr<KeyMeanProfilePtr> profile = LoadProfile(options.profile);
  if (!profile.ok()) return profile.status();
  const absl::StatusOr<std::vector<PkvFile>> files = OpenBlocks(options.blocks, *profile);
  if (!files.ok()) return files.status();
  const absl::StatusOr<QueryTensor> query = QueryTensor::Load(options.query, files->front().blocks().front().spec());
  if (!query.ok()) return query.status();

  const std::vector<uint64_t> rows = {query->layers(), query->heads(), query->queries()};
  std::vector<uint64_t> shape = rows;
  shape.push_back(query->head_dim());
  const std::vector<SafetensorsSpec> tensors = {{"o", shape}, {"lse", rows}};
  absl::StatusOr<SafetensorsWriter> out = SafetensorsWriter::Create(options.out, tensors, {});
  if (!out.ok()) return out.status();
  if (absl::Status s = AttendAll(*files, *query, options.planes, **kernels, &*out); !s.ok()) {
    return AdviseOnDevice(s, options.device);
  }
  if (absl::Status s = out->Commit(); !s.ok()) return s;

  uint64_t tokens = 0, blocks = 0;
  for (const PkvFile& file : *files) {
    tokens += file.tokens();
    blocks += file.blocks().size();
  }
  if (options.json) {
    nlohmann::ordered_json json = {{"out", options.out}, {"o_shape", shape}, {"tokens", tokens}, {"blocks", blocks}};
    AddDeviceUse((*kernels)->use(), json);
    PrintJson(json);
  } else {
    std::printf("%s: o %s and lse, over %llu tokens in %s\n", options.out.c_str(), ShapeText(shape).c_str(),
                static_cast<unsigned long long>(tokens), Plural(blocks, "block").c_str());
    PrintDeviceUse((*kernels)->use());
  }
  return absl::OkStatus();
}

}  // namespace

void AddAttendCommand(CommandLine& line) {
  auto options = std::make_shared<AttendOptions>();
  Subcommand command =
      line.Add("attend", "Attention of queries over compressed blocks", [options] { return RunAttend(*options); });
  command.RepeatedText("--block", &options->blocks, "FILE", "File of blocks (.pkv); may be repeated");
  command.RequiredText("--query", &options->query, "FILE", "Safetensors file with tensor q");
  command.RequiredText("--out", &options->out, "FILE", "Safetensors file to write");
  command.OptionalNumber("--planes", &options->planes, "Read turbo codes at this many bits: 2, 3 or 4 (default: all stored)");
  command.Text("--profile", &options->profile, "FILE", "Key-mean profile that the blocks name (.pkm)");
  AddDeviceOption(command, &options->device);
  command.Flag("--json", &options->json, "Print the summary as JSON");
  command.Explain(kFooter);
}

}  // namespace polarkv::cli
