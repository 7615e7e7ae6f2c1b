#include "service/server_flags.h"

#include <CLI/CLI.hpp>
#include <iostream>
#include <map>

#include "service/byte_size.h"

namespace polarkv {
namespace {

constexpr int kUsageError = 2;
constexpr double kLongestTime = 365.0 * 24 * 3600 * 1000;  // milliseconds; points in time have 64 bits of nanoseconds

CLI::Option* AddSize(CLI::App& app, const std::string& name, uint64_t& value, const std::string& help) {
  const auto set = [&value, name](const std::string& text) {
    const absl::StatusOr<uint64_t> size = ParseByteSize(text);
    if (!size.ok()) throw CLI::ValidationError(name, std::string(size.status().message()));
    value = *size;
  };
  return app.add_option_function<std::string>(name, set, help)->type_name("SIZE")->default_str(FormatByteSize(value));
}

CLI::Option* AddTime(CLI::App& app, const std::string& name, std::chrono::milliseconds& value,
                     const std::string& help) {
  const auto set = [&value, name](const std::string& text) {
    const std::map<std::string, double> units = {{"", 1000}, {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}};
    size_t used = 0;
    double number = -1;
    try {
      number = std::stod(text, &used);
    } catch (const std::exception&) {
      number = -1;
    }
    const auto unit = units.find(text.substr(used));
    if (!(number >= 0) || unit == units.end()) {
      throw CLI::ValidationError(name, "\"" + text + "\" is not a time; write 30s, 5m or 500ms");
    }
    if (number * unit->second > kLongestTime) {
      throw CLI::ValidationError(name, "\"" + text + "\" is too long; at most a year, 8760h");
    }
    value = std::chrono::milliseconds(static_cast<int64_t>(number * unit->second));
  };
  const std::string standard = std::to_string(value.count() / 1000) + "s";
  return app.add_option_function<std::string>(name, set, help)->type_name("TIME")->default_str(standard);
}

constexpr char kDescription[] =
    "polarkv-server keeps encoded prefix KV blocks on this node and serves them over gRPC.\n"
    "\n"
    "Examples:\n"
    "  polarkv-server --data-dir /var/lib/polarkv --memory-budget 8GiB --disk-budget 200GiB\n"
    "  polarkv-server --listen 127.0.0.1:0 --port-file /tmp/port     any free port, memory only\n"
    "  polarkv-server --config /etc/polarkv.toml                     flags as lines: memory-budget = \"8GiB\"\n"
    "\n"
    "Blocks are written to the data directory in the background. SIGTERM or SIGINT stops the server after it has\n"
    "written everything; a second one stops it at once. Budgets are hard: what does not fit evicts what was used\n"
    "least recently. Sizes: 4GiB, 500MB, 1048576. Times: 30s, 5m, 500ms.";

// gRPC would serve on port 443 where there is none, and take larger ones modulo 65536. Empty: it is fine.
std::string WhyNoAddress(const std::string& address) {
  if (address.starts_with("unix:")) return "";
  const size_t colon = address.rfind(':');
  const std::string port = colon == std::string::npos ? "" : address.substr(colon + 1);
  const bool digits = !port.empty() && port.size() <= 5 && port.find_first_not_of("0123456789") == std::string::npos;
  return digits && std::stoul(port) <= 65535 ? "" : "'" + address + "' has no port from 0 to 65535; write HOST:PORT";
}

}  // namespace

std::optional<ServerFlags> ParseServerFlags(int argc, const char* const* argv, int& exit_code) {
  ServerFlags flags;
  ServerOptions& server = flags.server;
  CLI::App app(kDescription, "polarkv-server");
  app.get_formatter()->column_width(34);
  app.set_version_flag("--version", std::string("polarkv-server ") + POLARKV_VERSION);
  app.set_config("--config", "", "Read flags from this file (TOML or INI); the command line wins");
  app.allow_config_extras(CLI::config_extras_mode::error);
  app.add_option("--listen", server.listen, "Address and port to serve on; port 0: any free one")
      ->type_name("HOST:PORT")
      ->check(CLI::Validator(WhyNoAddress, ""))
      ->capture_default_str();
  app.add_option("--data-dir", server.data_dir, "Directory for blocks on disk; without it memory only")
      ->type_name("DIR");
  AddSize(app, "--memory-budget", server.memory_budget, "Memory for blocks and their index");
  AddSize(app, "--disk-budget", server.disk_budget, "Disk space of the data directory");
  AddSize(app, "--max-block-bytes", server.max_block_bytes, "Largest block taken");
  AddTime(app, "--max-lease", server.max_lease, "Longest lease granted");
  AddTime(app, "--drain-timeout", server.drain_timeout, "How long running reads may go on when the server stops");
  app.add_option("--max-streams", server.max_streams, "Fetch and Store streams at once")->capture_default_str();
  app.add_option("--max-namespaces", server.max_namespaces, "Namespaces known at once")->capture_default_str();
  app.add_option("--threads", server.worker_threads, "Threads for reading and as many for writing; 0: by processors")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  app.add_option("--port-file", flags.port_file, "Write the port there once the server serves")->type_name("FILE");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    exit_code = app.exit(error, std::cout, std::cerr) == 0 ? 0 : kUsageError;
    return std::nullopt;
  }
  return flags;
}

}  // namespace polarkv
