// The words that files and people use for the format's enumerations.
#ifndef POLARKV_CLIENT_CLI_FORMAT_NAMES_H_
#define POLARKV_CLIENT_CLI_FORMAT_NAMES_H_

#include <cstdint>

#include "codec/block_format.h"
#include "codec/block_layout.h"

namespace polarkv::cli {

uint32_t DtypeBytes(Dtype dtype);
const char* DtypeName(Dtype dtype);                // "F16", "BF16", "F32", as in safetensors
const char* RopePairingName(RopePairing pairing);  // "none", "half", "interleaved", as in the metadata
const char* PlaneKindName(PlaneKind kind);         // "base", "key_refine1", ...
const char* RotationKindName(RotationKind kind);   // "none", "signed_block_hadamard"

}  // namespace polarkv::cli

#endif  // POLARKV_CLIENT_CLI_FORMAT_NAMES_H_
