// SPDX-License-Identifier: BSD-2-Clause
#pragma once

namespace hv {

template <typename Vm>
class exclusive_access;

/// A guest_physical_map as everybody has it: to look into and to fill, not to change. What changes it belongs to
/// `Owner` and to exclusive_access.
template <typename Map, typename Owner>
class shown_map : private Map {
  public:
    using changeable = Map;

    using Map::at;
    using Map::callers_are_serial;
    using Map::fault;
    using Map::generation;
    using Map::highest_address;
    using Map::is_mapped;
    using Map::lookup;
    using Map::next_mapping;
    using Map::root;
    using Map::segment;
    using Map::system_memory_bytes;
    using Map::tracks_dirty;

  private:
    friend Owner;
    friend class exclusive_access<Owner>;

    [[nodiscard]] auto changes() -> Map& { return *this; }
};

} // namespace hv
