#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "client/aligned_buffer.h"
#include "client/cli/cli_status.h"
#include "client/cli/commands.h"
#include "client/cli/namespace_lookup.h"
#include "client/cli/output_file.h"
#include "client/cli/progress_line.h"
#include "client/cli/text_format.h"
#include "nlohmann/json.hpp"

namespace polarkv::cli {
namespace {

// Fetched in one call, so that --deadline bounds a known amount of work.
constexpr uint64_t kBatchBytes = 32 << 20;
// Long enough for any file; short enough that a fetch that was killed does not keep the server full.
constexpr std::chrono::seconds kLease{60};

struct GetOptions {
  LookupOptions lookup;
  std::string out, profile_out;
};

constexpr char kFooter[] =
    R"(With --tokens: writes the longest stored prefix to a .pkv file, which may be shorter than what was asked for; the output
says where it ends and why. With --keys: writes exactly those blocks, or nothing. Every checksum is verified on receipt, and
the bytes are those that were stored. Exit code 3, and no file, when the first block (--tokens) or any block (--keys) is not
stored.

Only whole blocks make a file that other programs can read, so that get has no choice of layers or planes; workers fetch
those through the client library. `polarkv attend --planes` shows what fewer planes cost. Blocks of a namespace with a
key-mean profile need it to be decoded: --profile-out writes it beside them.
)";

constexpr char kExamples[] = R"(
Examples:
  polarkv get --server localhost:7070 --namespace demo --tokens tokens.json --out prefix.pkv
  polarkv get --server localhost:7070 --namespace demo --keys 5a9c... --out block.pkv --deadline 30s)";

// What is wrong with the first block that could not be had.
struct Shortfall {
  size_t block = 0;
  FetchOutcome outcome = FetchOutcome::kOk;
  std::string message;
};

struct Fetched {
  size_t blocks = 0;
  std::optional<Shortfall> shortfall;
};

// Fetches keys in batches through one buffer and appends the blocks to a file, up to the first that could not be had.
class BatchedFetch {
 public:
  BatchedFetch(Lookup& lookup, const ServerOptions& server, OutputFile& out)
      : lookup_(lookup), server_(server), out_(out) {}

  absl::StatusOr<Fetched> Run(size_t wanted) {
    const absl::StatusOr<uint64_t> block_bytes = FetchBytes(lookup_.ns.descriptor);
    if (!block_bytes.ok()) return block_bytes.status();
    MakeRoom(*block_bytes, wanted);
    ProgressLine progress("fetching", wanted, "blocks");
    while (fetched_.blocks < wanted && !fetched_.shortfall.has_value()) {
      if (absl::Status s = FetchNext(std::min(batch_, wanted - fetched_.blocks)); !s.ok()) return s;
      progress.Update(fetched_.blocks);
    }
    return fetched_;
  }

 private:
  void MakeRoom(uint64_t block_bytes, size_t wanted) {
    block_bytes_ = (block_bytes + kSegmentAlignment - 1) / kSegmentAlignment * kSegmentAlignment;
    batch_ = std::clamp<size_t>(kBatchBytes / block_bytes_, 1, wanted);
    buffer_ = AlignedBuffer(batch_ * block_bytes_);
  }

  absl::Status FetchNext(size_t count) {
    std::vector<FetchSlot> slots(count);
    for (size_t i = 0; i < count; ++i) slots[i].buffer = buffer_.span().subspan(i * block_bytes_, block_bytes_);
    const size_t begin = fetched_.blocks;
    const absl::Status status =
        lookup_.client->Fetch(lookup_.ns, std::span(lookup_.keys).subspan(begin, count), {}, slots);
    if (!status.ok()) return ExplainServerError(status, server_);
    for (size_t i = 0; i < count; ++i) {
      // Blocks differ in size; one with much stored raw may be larger than most. It is fetched again.
      if (slots[i].outcome == FetchOutcome::kBufferTooSmall && slots[i].bytes > block_bytes_) {
        MakeRoom(slots[i].bytes, count);
        return absl::OkStatus();
      }
      if (slots[i].outcome != FetchOutcome::kOk) {
        fetched_.shortfall = Shortfall{begin + i, slots[i].outcome, slots[i].message};
        return absl::OkStatus();
      }
      if (absl::Status s = out_.Append(slots[i].view.front().bytes()); !s.ok()) return s;
      ++fetched_.blocks;
    }
    return absl::OkStatus();
  }

  Lookup& lookup_;
  const ServerOptions& server_;
  OutputFile& out_;
  uint64_t block_bytes_ = 0;  // room of each block in the buffer
  size_t batch_ = 0;          // blocks that the buffer holds
  AlignedBuffer buffer_;
  Fetched fetched_;
};

void Report(const GetOptions& options, const Lookup& lookup, size_t blocks, uint64_t bytes, const std::string& stop) {
  const uint64_t tokens = uint64_t{lookup.ns.descriptor.block_tokens} * blocks;
  if (options.lookup.server.json) {
    PrintJson({{"out", options.out},
               {"namespace", options.lookup.ns},
               {"blocks_asked", lookup.keys.size()},
               {"blocks", blocks},
               {"tokens", tokens},
               {"bytes", bytes},
               {"stop", stop}});
    return;
  }
  std::printf("%s: %zu of %s, %s, %s\n", options.out.c_str(), blocks, Plural(lookup.keys.size(), "block").c_str(),
              Plural(tokens, "token").c_str(), HumanBytes(bytes).c_str());
  if (blocks < lookup.keys.size()) std::printf("  stopped at block %zu: %s\n", blocks, stop.c_str());
}

// The status of a fetch that leaves nothing to write.
absl::Status Refuse(const Shortfall& shortfall) {
  std::string message = "block " + std::to_string(shortfall.block) + ": " + FetchOutcomeName(shortfall.outcome);
  if (!shortfall.message.empty()) message += " (" + shortfall.message + ")";
  if (shortfall.outcome == FetchOutcome::kNotFound) return MissError(message);
  return absl::DataLossError(message);
}

// Number of blocks to fetch and why they end there.
struct Wanted {
  size_t blocks = 0;
  std::string stop;
  uint64_t lease = 0;
};

absl::StatusOr<Wanted> ChooseBlocks(const GetOptions& options, Lookup& lookup) {
  if (!options.lookup.keys.keys.empty()) return Wanted{lookup.keys.size(), MatchStopName(MatchStop::kAllMatched), 0};
  const absl::StatusOr<PrefixMatch> match = lookup.client->Match(lookup.ns, lookup.keys, kLease);
  if (!match.ok()) return ExplainServerError(match.status(), options.lookup.server);
  const std::string stop = MatchStopName(match->stop);
  if (match->matched_blocks == 0) return MissError("no block of the prefix is stored: " + stop);
  return Wanted{match->matched_blocks, stop, match->lease_id};
}

absl::Status FetchToFile(const GetOptions& options, Lookup& lookup, const Wanted& wanted) {
  absl::StatusOr<OutputFile> out = OutputFile::Create(options.out);
  if (!out.ok()) return out.status();
  const absl::StatusOr<Fetched> fetched = BatchedFetch(lookup, options.lookup.server, *out).Run(wanted.blocks);
  if (!fetched.ok()) return fetched.status();
  const bool exact = !options.lookup.keys.keys.empty();
  if (fetched->shortfall.has_value() && (exact || fetched->blocks == 0)) return Refuse(*fetched->shortfall);
  if (absl::Status s = out->Commit(); !s.ok()) return s;
  const std::string stop = fetched->shortfall.has_value() ? FetchOutcomeName(fetched->shortfall->outcome) : wanted.stop;
  Report(options, lookup, fetched->blocks, out->size(), stop);
  return absl::OkStatus();
}

absl::Status WriteProfile(const GetOptions& options, Lookup& lookup) {
  const absl::StatusOr<NamespaceHandle> ns = lookup.client->OpenNamespace(lookup.ns.descriptor);
  if (!ns.ok()) return ExplainServerError(ns.status(), options.lookup.server);
  if (ns->profile == nullptr) {
    return absl::FailedPreconditionError("the namespace has no key-mean profile; leave --profile-out out");
  }
  absl::StatusOr<OutputFile> out = OutputFile::Create(options.profile_out);
  if (!out.ok()) return out.status();
  if (absl::Status s = out->Append(ns->profile->bytes()); !s.ok()) return s;
  return out->Commit();
}

absl::Status RunGet(const GetOptions& options) {
  absl::StatusOr<Lookup> lookup = OpenLookup(options.lookup, WantKeys::kYes);
  if (!lookup.ok()) return lookup.status();
  if (!options.profile_out.empty()) {
    if (absl::Status s = WriteProfile(options, *lookup); !s.ok()) return s;
  }
  const absl::StatusOr<Wanted> wanted = ChooseBlocks(options, *lookup);
  if (!wanted.ok()) return wanted.status();
  const absl::Status status = FetchToFile(options, *lookup, *wanted);
  // A lease that cannot be given back ends by itself; the file is whole all the same.
  if (absl::Status s = lookup->client->ReleaseLease(wanted->lease); !s.ok() && status.ok()) {
    PrintNote("the lease ends by itself in " + std::to_string(kLease.count()) + " s: " + MessageOf(s));
  }
  return status;
}

}  // namespace

void AddGetCommand(CommandLine& line) {
  auto options = std::make_shared<GetOptions>();
  Subcommand command =
      line.Add("get", "Fetch the longest stored prefix into a file", [options] { return RunGet(*options); });
  AddLookupOptions(&command, &options->lookup);
  command.RequiredText("--out", &options->out, "FILE", "File of blocks to write (.pkv)");
  command.Text("--profile-out", &options->profile_out, "FILE", "Also write the namespace's key-mean profile (.pkm)");
  command.Explain(kFooter + KeyHelp() + kExamples);
}

}  // namespace polarkv::cli
