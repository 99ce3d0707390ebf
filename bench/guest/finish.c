/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The serial port and the ways out. Output goes in bursts of the 16550's FIFO size, each after a
 * look at the line status, so nothing is lost when the other side is slow. The first CPU that ends
 * the run wins; others that try stay in a loop until the power goes.
 *
 * Ways out, tried in this order: isa-debug-exit when asked for, ACPI S5 through PM1a at 0x604 (q35
 * and fastvmm), reset through 0xcf9, a triple fault.
 */
#include "finish.h"

#include <stdarg.h>

#include "cpu.h"
#include "json.h"
#include "ring0.h"
#include "text.h"

#define COM1      0x3f8
#define FIFO_SIZE 16
#define LINE_MAX  512

static bool debug_exit, serial_ready;
static uint32_t finishing, printing;

void finish_use_debug_exit(bool use)
{
	debug_exit = use;
}

static void serial_init(void)
{
	if (serial_ready)
		return;
	port_out8(COM1 + 1, 0);    /* no interrupts */
	port_out8(COM1 + 3, 0x03); /* 8n1 */
	port_out8(COM1 + 2, 0x07); /* FIFOs on and cleared */
	serial_ready = true;
}

static void serial_write(const char *data, size_t length)
{
	serial_init();
	while (length) {
		size_t burst = length < FIFO_SIZE ? length : FIFO_SIZE;

		while (!(port_in8(COM1 + 5) & 0x20)) /* transmitter empty */
			cpu_relax();
		port_out_string(COM1, data, burst);
		data += burst;
		length -= burst;
	}
}

void finish_note(const char *format, ...)
{
	char line[LINE_MAX];
	struct text text;
	va_list arguments;

	text_init(&text, line, sizeof(line) - 2);
	text_string(&text, "# ");
	va_start(arguments, format);
	text_format_list(&text, format, arguments);
	va_end(arguments);
	line[text.length++] = '\n';
	while (__atomic_exchange_n(&printing, 1, __ATOMIC_ACQUIRE))
		cpu_relax();
	serial_write(line, text.length);
	__atomic_store_n(&printing, 0, __ATOMIC_RELEASE);
}

static void power_off(unsigned status)
{
	while (!(port_in8(COM1 + 5) & 0x40)) /* all sent */
		cpu_relax();
	if (debug_exit)
		port_out32(0xf4, status);
	port_out16(0x604, 0x2000); /* PM1a control: SLP_EN, S5 */
	port_out8(0xcf9, 0x02);
	port_out8(0xcf9, 0x06);
	triple_fault();
}

static void stay(void) __attribute__((noreturn));
static void stay(void)
{
	for (;;)
		cpu_relax();
}

void finish(const char *line, unsigned status)
{
	if (__atomic_exchange_n(&finishing, 1, __ATOMIC_ACQ_REL))
		stay();
	serial_write(line, text_length(line));
	serial_write("\n", 1);
	power_off(status);
	stay();
}

void finish_fail(const char *format, ...)
{
	static char line[2 * LINE_MAX];
	char reason[LINE_MAX];
	struct text text;
	struct json json;
	va_list arguments;

	if (__atomic_exchange_n(&finishing, 1, __ATOMIC_ACQ_REL))
		stay();
	text_init(&text, reason, sizeof(reason));
	va_start(arguments, format);
	text_format_list(&text, format, arguments);
	va_end(arguments);
	json_init(&json, line, sizeof(line));
	json_object(&json, NULL);
	json_string(&json, "guest", "bareguest");
	json_string(&json, "status", "fail");
	json_string(&json, "reason", reason);
	json_end(&json);
	__atomic_store_n(&finishing, 0, __ATOMIC_RELEASE);
	finish(line, FINISH_FAIL);
}
