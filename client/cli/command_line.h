// The program's command line: subcommands and their options. Only command_line.cc includes the parser's library, which
// takes a compiler longer than the rest of a subcommand.
#ifndef POLARKV_CLIENT_CLI_COMMAND_LINE_H_
#define POLARKV_CLIENT_CLI_COMMAND_LINE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "client/cli/cli_status.h"

namespace CLI {
class App;
}

namespace polarkv::cli {

// Declares options; each writes to *value, which outlives the parse. What *value holds before is the default and is
// shown in --help. `type` is what --help calls the value.
class Subcommand {
 public:
  void Text(const char* name, std::string* value, const char* type, const char* help);
  void RequiredText(const char* name, std::string* value, const char* type, const char* help);  // also "file": by place
  void OptionalText(const char* name, std::optional<std::string>* value, const char* type, const char* help);
  // Given at least once, one value each time.
  void RepeatedText(const char* name, std::vector<std::string>* values, const char* type, const char* help);
  // Perhaps given, one value each time.
  void SeveralTexts(const char* name, std::vector<std::string>* values, const char* type, const char* help);
  // Several values with commas between them.
  void CommaList(const char* name, std::vector<std::string>* values, const char* type, const char* help);
  void Number(const char* name, uint32_t* value, const char* help);
  void OptionalNumber(const char* name, std::optional<uint32_t>* value, const char* help);
  void Flag(const char* name, bool* value, const char* help);
  // What --help says below the options.
  void Explain(const std::string& text);

 private:
  friend class CommandLine;
  explicit Subcommand(CLI::App* app) : app_(app) {}
  CLI::App* app_;
};

class CommandLine {
 public:
  CommandLine(const std::string& about, const std::string& explanation, const std::string& version);
  ~CommandLine();
  CommandLine(const CommandLine&) = delete;
  CommandLine& operator=(const CommandLine&) = delete;

  // `run` is what the subcommand does; its status decides the exit code.
  Subcommand Add(const char* name, const char* about, std::function<absl::Status()> run);

  // Parses, runs the chosen subcommand, and prints what went wrong on standard error.
  ExitCode Run(int argc, char** argv);

 private:
  std::string Chosen() const;
  std::string UnknownCommand(const std::string& first_argument) const;

  std::unique_ptr<CLI::App> app_;
  std::function<absl::Status()> run_;  // of the chosen subcommand
};

}  // namespace polarkv::cli

#endif  // POLARKV_CLIENT_CLI_COMMAND_LINE_H_
