# Enables CUDA in the including folder. CMake 3.25 does not know that nvcc has C++20.
if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES "80;90")
endif()
if(POLARKV_CCACHE)
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${POLARKV_CCACHE})
endif()
enable_language(CUDA)
if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
  list(APPEND CMAKE_CUDA_COMPILE_FEATURES cuda_std_20)
endif()
set(CMAKE_CUDA_STANDARD 20)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
set(CMAKE_CUDA_EXTENSIONS OFF)
set(CMAKE_CUDA_RUNTIME_LIBRARY Static)

# polarkv_cuda_target(target): the flags of every CUDA target. --fmad=false: a*b+c is fused only where the source says so.
function(polarkv_cuda_target target)
  target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:--expt-relaxed-constexpr --fmad=false
    -Wno-deprecated-gpu-targets -Xcompiler=-Wall,-Wextra,-Wshadow,-Wno-unknown-pragmas
    $<$<BOOL:${POLARKV_WERROR}>:--Werror=all-warnings>>)
endfunction()
