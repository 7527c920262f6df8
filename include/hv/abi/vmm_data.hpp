// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <stddef.h>
#include <stdint.h>

/* The saved forms of devices, byte for byte those of the reference interface (VM_DATA_READ, VM_DATA_WRITE). Plain C
   with natural alignment on LP64, so that user space can share the file. Times are nanoseconds on the machine's own
   clock. What the alignment would leave between members is named `reserved`: read as zero, ignored when written. */

enum {
    hv_data_version_class = 1,
    hv_data_register = 2,
    hv_data_msr = 3,
    hv_data_fpu = 4,
    hv_data_lapic = 5,
    hv_data_vmm_arch = 6,
    hv_data_ioapic = 7,
    hv_data_pit = 8,
    hv_data_pic = 9,
    hv_data_hpet = 10,
    hv_data_pm_timer = 11,
    hv_data_rtc = 12,
    hv_data_vmm_time = 13,
    hv_data_pmu_amd = 14,
    /* Classes that the reference interface does not have start here. */
    hv_data_uart = 0x8000, /* and an eighth of the base port, so that each UART has its own: 807Fh for 3F8h */
    hv_data_keyboard_controller = 0x8002,
    hv_data_pm_registers = 0x8003
};

struct hv_lapic_page_v1 {
    uint32_t id;
    uint32_t version;
    uint32_t tpr;
    uint32_t apr;
    uint32_t ldr;
    uint32_t dfr;
    uint32_t svr;
    uint32_t isr[8];
    uint32_t tmr[8];
    uint32_t irr[8];
    uint32_t esr;
    uint32_t lvt_cmci;
    uint64_t icr;
    uint32_t lvt_timer;
    uint32_t lvt_thermal;
    uint32_t lvt_pcint;
    uint32_t lvt_lint0;
    uint32_t lvt_lint1;
    uint32_t lvt_error;
    uint32_t icr_timer;
    uint32_t dcr_timer;
};

struct hv_lapic_v1 {
    struct hv_lapic_page_v1 page;
    uint64_t msr_apicbase;
    int64_t timer_target; /* 0: not armed */
    uint32_t esr_pending;
};

struct hv_ioapic_v1 {
    uint64_t pin_reg[32];
    uint32_t pin_level[32]; /* assertions that are not yet taken back */
    uint32_t id;
    uint32_t reg_sel;
};

struct hv_pit_channel_v1 {
    uint16_t initial;
    uint16_t reg_cr;
    uint16_t reg_ol;
    uint8_t reg_status;
    uint8_t mode;
    uint8_t status; /* 0 status latched, 1 output latched, 2 cr_sel, 3 ol_sel, 4 fr_sel */
    uint8_t reserved[7];
    int64_t time_target;
};

struct hv_pit_v1 {
    struct hv_pit_channel_v1 channel[3];
};

struct hv_pic_chip_v1 {
    uint8_t icw_state;
    uint8_t status; /* 0 ready, 1 auto EOI, 2 poll, 3 rotate, 4 SFNM, 5 read ISR next, 6 INT raised, 7 special mask */
    uint8_t reg_irr;
    uint8_t reg_isr;
    uint8_t reg_imr;
    uint8_t irq_base;
    uint8_t lowprio;
    uint8_t elc;
    uint32_t level[8];
};

struct hv_pic_v1 {
    struct hv_pic_chip_v1 chip[2];
};

struct hv_hpet_timer_v1 {
    uint64_t config;
    uint64_t msi;
    uint32_t comp_val;
    uint32_t comp_rate;
    int64_t time_target;
};

struct hv_hpet_v1 {
    uint64_t config;
    uint64_t isr;
    uint32_t count_base;
    uint32_t reserved;
    int64_t time_base;
    struct hv_hpet_timer_v1 timers[8];
};

struct hv_pm_timer_v1 {
    int64_t time_base;
    uint16_t ioport; /* ignored when written */
    uint16_t reserved[3];
};

struct hv_rtc_v2 {
    int64_t base_clock;
    int64_t last_period;
    uint8_t content[128];
    uint8_t addr;
    uint8_t reserved[7];
};

struct hv_time_info_v1 {
    uint64_t guest_freq;
    uint64_t guest_tsc;
    int64_t boot_hrtime;
    int64_t hrtime;
    uint64_t hres_sec;
    uint64_t hres_ns;
};

#ifdef __cplusplus
static_assert(sizeof(hv_lapic_page_v1) == 176 && offsetof(hv_lapic_page_v1, icr) == 136);
static_assert(sizeof(hv_lapic_v1) == 200 && offsetof(hv_lapic_v1, timer_target) == 184);
static_assert(offsetof(hv_lapic_v1, esr_pending) == 192);
static_assert(sizeof(hv_ioapic_v1) == 392);
static_assert(sizeof(hv_pit_channel_v1) == 24 && offsetof(hv_pit_channel_v1, time_target) == 16);
static_assert(sizeof(hv_pit_v1) == 72);
static_assert(sizeof(hv_pic_chip_v1) == 40 && sizeof(hv_pic_v1) == 80);
static_assert(sizeof(hv_hpet_timer_v1) == 32);
static_assert(sizeof(hv_hpet_v1) == 288 && offsetof(hv_hpet_v1, time_base) == 24 && offsetof(hv_hpet_v1, timers) == 32);
static_assert(sizeof(hv_pm_timer_v1) == 16);
static_assert(sizeof(hv_rtc_v2) == 152);
static_assert(sizeof(hv_time_info_v1) == 48);
#endif
