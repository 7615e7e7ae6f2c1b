// A block's identity on this node: the same key may stand for different blocks in different namespaces.
#ifndef POLARKV_SERVICE_BLOCK_NAME_H_
#define POLARKV_SERVICE_BLOCK_NAME_H_

#include <utility>

#include "codec/block_key.h"
#include "service/block_store.h"

namespace polarkv {

struct BlockName {
  NamespaceId ns = 0;
  BlockKey key;
  friend bool operator==(const BlockName&, const BlockName&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const BlockName& name) {
    return H::combine(std::move(h), name.ns, name.key);
  }
};

}  // namespace polarkv

#endif  // POLARKV_SERVICE_BLOCK_NAME_H_
