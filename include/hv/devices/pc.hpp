// SPDX-License-Identifier: BSD-2-Clause
#pragma once

/// All devices of a PC.
#include <hv/devices/debug_port.hpp>
#include <hv/devices/exit_port.hpp>
#include <hv/devices/hpet.hpp>
#include <hv/devices/ioapic.hpp>
#include <hv/devices/keyboard_controller.hpp>
#include <hv/devices/lapic.hpp>
#include <hv/devices/pic_8259.hpp>
#include <hv/devices/pit_8254.hpp>
#include <hv/devices/pm_timer.hpp>
#include <hv/devices/rtc_mc146818.hpp>
#include <hv/devices/uart_16550.hpp>
