// NamespaceDescriptor <-> polarkv.v1.NamespaceDescriptor, validated in both directions.
#ifndef POLARKV_PROTO_DESCRIPTOR_CONVERSION_H_
#define POLARKV_PROTO_DESCRIPTOR_CONVERSION_H_

#include "absl/status/statusor.h"
#include "codec/namespace_descriptor.h"
#include "polarkv/v1/kv_store.pb.h"

namespace polarkv {

// INVALID_ARGUMENT: as ValidateNamespaceDescriptor; or a value that the wire cannot carry: text that is not UTF-8, a
// rotation seed of 0 (the wire's word for "the format's default").
absl::StatusOr<v1::NamespaceDescriptor> DescriptorToProto(const NamespaceDescriptor& descriptor);

// The wire's defaults are filled in: shards 0 is 1, rotation_seed 0 is the format's, an empty profile_digest is none.
// INVALID_ARGUMENT naming the field: an enum value, a codec or a length that this build does not know; else as
// ValidateNamespaceDescriptor.
absl::StatusOr<NamespaceDescriptor> DescriptorFromProto(const v1::NamespaceDescriptor& proto);

}  // namespace polarkv

#endif  // POLARKV_PROTO_DESCRIPTOR_CONVERSION_H_
