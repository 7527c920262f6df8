// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include "payload.hpp"

extern "C" {
extern payload::u64 descriptors[9];
extern payload::u8 task_state[104];
struct [[gnu::packed]] table_pointer {
    payload::u16 limit;
    payload::u64 base;
};
extern table_pointer gates_pointer;
}

/// Ways to make the delivery of an event fault.
namespace payload {

/// What delivery through a broken gate meets. SDM Vol. 3A, "Exception and Interrupt Reference".
enum class breakage : unsigned { absent, no_gate, absent_code, absent_stack, absent_table };
inline constexpr unsigned breakages{5};

inline constexpr char const* breakage_names[breakages]{"a gate that is absent", "a gate of a wrong type",
                                                       "a gate to an absent code segment",
                                                       "a gate whose stack is absent", "a gate on an absent page"};
/// The exception that each is.
inline constexpr unsigned breakage_vectors[breakages]{vector::not_present, vector::protection, vector::not_present,
                                                      vector::page_fault, vector::page_fault};
/// An address without memory, and the top of a stack there.
inline constexpr u64 hole{0x30000000}, absent_stack_top{hole + 4096};

/// Breaks one gate as long as it lives.
class broken_gate {
  public:
    broken_gate(unsigned vector, breakage how) : vector_{vector}, how_{how}, saved_{gate_of(vector)} {
        auto& gate = gate_of(vector);
        switch (how) {
        case breakage::absent:
            gate.low &= ~(u64{1} << 47);
            break;
        case breakage::no_gate:
            gate.low = (gate.low & ~(u64{0xf} << 40)) | u64{2} << 40;
            break;
        case breakage::absent_code:
            descriptors[absent_selector / 8] = code_descriptor & ~(u64{1} << 47);
            gate.low = (gate.low & ~(u64{0xffff} << 16)) | u64{absent_selector} << 16;
            break;
        case breakage::absent_stack:
            entry_of(hole) = 0;
            invlpg(hole);
            *reinterpret_cast<u64 volatile*>(task_state + ist2) = absent_stack_top;
            gate.low = (gate.low & ~(u64{7} << 32)) | u64{2} << 32;
            break;
        case breakage::absent_table:
            split_table();
            break;
        }
    }
    ~broken_gate() {
        if (how_ == breakage::absent_table) {
            entry_of(absent_part()) |= page::present;
            invlpg(absent_part());
            asm volatile("lidt %0" ::"m"(gates_pointer));
        }
        gate_of(vector_) = saved_;
        descriptors[absent_selector / 8] = 0x00cf9b000000ffff;
    }
    broken_gate(broken_gate const&) = delete;
    auto operator=(broken_gate const&) -> broken_gate& = delete;

    /// What a page fault in delivery leaves in CR2.
    [[nodiscard]] auto fault_address() const -> u64 {
        return how_ == breakage::absent_table ? table() + 16 * vector_ : absent_stack_top - 8;
    }

  private:
    static constexpr unsigned ist2{0x2c};
    static constexpr u16 absent_selector{code32}; // nobody needs it meanwhile
    static constexpr u64 code_descriptor{0x00af9b000000ffff};
    alignas(4096) static inline u8 pages_[2 * 4096];

    /// A copy of the table lies across two pages such that the gate is on the absent one, and those of the faults that
    /// follow on the other: below #PF the first gates are absent, from #PF on the last.
    [[nodiscard]] auto first_of_second_page() const -> unsigned {
        return vector_ < vector::page_fault ? vector_ + 1 : vector::page_fault + (vector_ > vector::page_fault ? 1 : 0);
    }
    [[nodiscard]] auto table() const -> u64 {
        return reinterpret_cast<u64>(pages_) + 4096 - 16 * u64{first_of_second_page()};
    }
    [[nodiscard]] auto absent_part() const -> u64 {
        return reinterpret_cast<u64>(pages_) + (vector_ < vector::page_fault ? 0 : 4096);
    }
    void split_table() {
        auto* const copy = reinterpret_cast<gate*>(table());
        for (unsigned v{}; v != 256; ++v)
            copy[v] = gate_of(v);
        table_pointer const pointer{256 * 16 - 1, table()};
        asm volatile("lidt %0" ::"m"(pointer) : "memory");
        entry_of(absent_part()) &= ~page::present;
        invlpg(absent_part());
    }

    unsigned vector_;
    breakage how_;
    gate saved_;
};

/// How an exception combines with one that its delivery meets.
enum class severity { benign, contributory, page_fault };

struct first_exception {
    char const* name;
    unsigned vector;
    severity its;
    void (*raise)();
};

/// Raises the exception through its gate, then through the gate broken in each way. SDM Vol. 3A, Table "Conditions for
/// Generating a Double Fault".
inline void judge_deliveries(first_exception const& first) {
    expect_exception(first.vector, first.raise, first.name);
    for (unsigned how{}; how != breakages; ++how) {
        broken_gate const broken{first.vector, static_cast<breakage>(how)};
        bool const page_fault{breakage_vectors[how] == vector::page_fault};
        bool const doubled{first.its == severity::page_fault or
                           (first.its == severity::contributory and not page_fault)};
        auto const wanted = doubled ? vector::double_fault : breakage_vectors[how];
        auto const got = attempt(first.raise);
        if (got.vector != wanted) {
            print(first.name);
            print(": ");
            expect_equal(got.vector, wanted, breakage_names[how]);
        } else if (doubled) {
            expect_equal(got.error_code, 0, "the error code of a double fault");
        } else if (page_fault) {
            expect_equal(got.cr2, broken.fault_address(), "CR2");
            expect_equal(got.error_code & ~u64{2}, 0, "the error code of the page fault");
        }
    }
}

} // namespace payload
