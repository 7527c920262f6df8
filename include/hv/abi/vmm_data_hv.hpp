// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Saved forms that the reference interface does not have; class numbers from 8001h on, see vmm_data.hpp. Plain C with
   natural alignment. */

/* A 16550A. Its class is hv_data_uart + base port / 8. */
struct hv_uart_v1 {
    uint8_t ier;
    uint8_t fcr; /* 0 FIFOs on, 7:6 trigger level */
    uint8_t lcr;
    uint8_t mcr;
    uint8_t lsr; /* 1 overrun */
    uint8_t msr; /* 3:0 changes not yet read */
    uint8_t scr;
    uint8_t dll;
    uint8_t dlm;
    uint8_t thr_empty; /* the transmitter's interrupt is due */
    uint8_t received_count;
    uint8_t received[16]; /* oldest first; the first stays readable when all are taken */
};

struct hv_keyboard_controller_v1 {
    uint8_t command_byte;
    uint8_t output_port;
    uint8_t data;    /* the byte at port 60h */
    uint8_t status;  /* 0 data is new, 3 the last write was a command */
    uint8_t command; /* the command that waits for its data byte, or 0 */
};

/* What an ACPI PM block has beside its timer (hv_pm_timer_v1). */
struct hv_pm_registers_v1 {
    uint16_t status;
    uint16_t enable;
    uint16_t control;
};

#ifdef __cplusplus
static_assert(sizeof(hv_uart_v1) == 27 && offsetof(hv_uart_v1, received) == 11);
static_assert(sizeof(hv_keyboard_controller_v1) == 5);
static_assert(sizeof(hv_pm_registers_v1) == 6);
#endif
