#include "client/cli/command_line.h"

#include <cstdio>
#include <utility>

#include "CLI/CLI.hpp"

namespace polarkv::cli {
namespace {

CLI::Option* AddRepeated(CLI::App* app, const char* name, std::vector<std::string>* values, const char* type,
                         const char* help) {
  return app->add_option(name, *values, help)
      ->type_name(type)
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
}

}  // namespace

void Subcommand::Text(const char* name, std::string* value, const char* type, const char* help) {
  app_->add_option(name, *value, help)->type_name(type)->capture_default_str();
}

void Subcommand::RequiredText(const char* name, std::string* value, const char* type, const char* help) {
  app_->add_option(name, *value, help)->type_name(type)->required();
}

void Subcommand::OptionalText(const char* name, std::optional<std::string>* value, const char* type, const char* help) {
  app_->add_option(name, *value, help)->type_name(type);
}

void Subcommand::RepeatedText(const char* name, std::vector<std::string>* values, const char* type, const char* help) {
  AddRepeated(app_, name, values, type, help)->required();
}

void Subcommand::SeveralTexts(const char* name, std::vector<std::string>* values, const char* type, const char* help) {
  AddRepeated(app_, name, values, type, help);
}

void Subcommand::CommaList(const char* name, std::vector<std::string>* values, const char* type, const char* help) {
  app_->add_option(name, *values, help)->type_name(type)->delimiter(',');
}

void Subcommand::Number(const char* name, uint32_t* value, const char* help) {
  app_->add_option(name, *value, help)->type_name("N")->capture_default_str();
}

void Subcommand::OptionalNumber(const char* name, std::optional<uint32_t>* value, const char* help) {
  app_->add_option(name, *value, help)->type_name("N");
}

void Subcommand::Flag(const char* name, bool* value, const char* help) { app_->add_flag(name, *value, help); }

void Subcommand::Explain(const std::string& text) { app_->footer(text); }

CommandLine::CommandLine(const std::string& about, const std::string& explanation, const std::string& version)
    : app_(std::make_unique<CLI::App>(about, "polarkv")) {
  app_->require_subcommand(1);
  app_->set_version_flag("--version", "polarkv " + version);
  app_->footer(explanation);
  app_->get_formatter()->column_width(32);
}

CommandLine::~CommandLine() = default;

Subcommand CommandLine::Add(const char* name, const char* about, std::function<absl::Status()> run) {
  CLI::App* subcommand = app_->add_subcommand(name, about);
  subcommand->callback([this, run = std::move(run)] { run_ = run; });
  return Subcommand(subcommand);
}

std::string CommandLine::Chosen() const {
  const auto chosen = app_->get_subcommands();
  return chosen.empty() ? "polarkv" : "polarkv " + chosen.front()->get_name();
}

// "A subcommand is required" does not help who has mistyped one.
std::string CommandLine::UnknownCommand(const std::string& first_argument) const {
  if (first_argument.empty() || first_argument.front() == '-' || !app_->get_subcommands().empty()) return "";
  std::string names;
  for (const CLI::App* command : std::as_const(*app_).get_subcommands(nullptr)) {
    names += (names.empty() ? "" : ", ") + command->get_name();
  }
  return "unknown command '" + first_argument + "'; there are " + names;
}

ExitCode CommandLine::Run(int argc, char** argv) {
  const auto complain = [this](const std::string& message, bool wrong_usage) {
    const std::string command = Chosen();
    std::fprintf(stderr, "%s: %s\n", command.c_str(), message.c_str());
    if (wrong_usage) std::fprintf(stderr, "Try '%s --help'.\n", command.c_str());
  };
  try {
    app_->parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    // Help and --version come this way, too.
    if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success)) {
      app_->exit(error);
      return ExitCode::kOk;
    }
    const std::string unknown = UnknownCommand(argc > 1 ? argv[1] : "");
    complain(unknown.empty() ? error.what() : unknown, true);
    return ExitCode::kUsage;
  }
  const absl::Status status = run_();
  const ExitCode code = ExitCodeOf(status);
  if (!status.ok()) complain(MessageOf(status), code == ExitCode::kUsage);
  return code;
}

}  // namespace polarkv::cli
