// polarkv-load: plays request traces and synthetic workloads against a polarkv server and checks every byte.
#include <malloc.h>

#include "client/load/load_options.h"
#include "client/load/load_run.h"

int main(int argc, char** argv) {
  // Receive buffers of a megabyte come and go all the time: keep them in the heap, glibc would map and unmap each.
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, 256 << 20);
  polarkv::load::LoadOptions options;
  int exit_code = 0;
  if (!polarkv::load::ParseLoadOptions(argc, argv, options, exit_code)) return exit_code;
  return polarkv::load::RunLoad(options);
}
