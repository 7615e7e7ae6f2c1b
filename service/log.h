// One line per event on standard error, with time and severity.
#ifndef POLARKV_SERVICE_LOG_H_
#define POLARKV_SERVICE_LOG_H_

#include <string>

namespace polarkv {

// Thread-safe; a line is written in one piece.
void LogInfo(const std::string& message);
void LogWarning(const std::string& message);
void LogError(const std::string& message);

}  // namespace polarkv

#endif  // POLARKV_SERVICE_LOG_H_
