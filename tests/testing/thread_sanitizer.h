// Whether this is a build with the thread sanitizer.
#ifndef POLARKV_TESTS_TESTING_THREAD_SANITIZER_H_
#define POLARKV_TESTS_TESTING_THREAD_SANITIZER_H_

#ifdef __has_feature
#define POLARKV_HAS_FEATURE(feature) __has_feature(feature)
#else
#define POLARKV_HAS_FEATURE(feature) 0
#endif

namespace polarkv::testing {

#if defined(__SANITIZE_THREAD__) || POLARKV_HAS_FEATURE(thread_sanitizer)
constexpr bool kThreadSanitizer = true;
#else
constexpr bool kThreadSanitizer = false;
#endif
// For GTEST_SKIP.
constexpr char kForksWithThreads[] =
    "the thread sanitizer cannot start threads in a child that was forked by a program with threads";

}  // namespace polarkv::testing

#undef POLARKV_HAS_FEATURE

#endif  // POLARKV_TESTS_TESTING_THREAD_SANITIZER_H_
