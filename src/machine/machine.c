/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Construction runs from memory to board and teardown the other way. What lives on the main thread
 * hangs on one event loop; vCPU threads report the end of the guest by filling `end` under a lock
 * (the first reason wins), asking all vCPUs to stop, and signalling an eventfd of that loop.
 */
#include "machine/machine.h"

#include "machine/board.h"
#include "machine/cmos.h"
#include "machine/console.h"
#include "machine/devices.h"
#include "machine/layout.h"
#include "machine/power.h"
#include "machine/pvpanic.h"
#include "machine/serial.h"
#include "machine/signals.h"
#include "util/checked.h"
#include "util/cleanup.h"
#include "util/evloop.h"
#include "util/fd.h"
#include "util/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define FLUSH_TIMEOUT_MS 1000

/* One interrupt line of the board of the moment. */
struct machine_line {
	struct machine *machine;
	int gsi;
};

enum {
	LINE_CONSOLE,
	LINE_REPORT,
	LINE_CMOS,
	LINE_SCI,
	LINE_COUNT,
};

struct machine {
	const struct machine_config *config;
	struct evloop *loop;
	struct signals *signals;
	int end_fd; /* eventfd: `end` is filled */
	int report_fd;
	struct guest_memory *memory;
	struct machine_line lines[LINE_COUNT];
	struct serial *console_port;
	struct serial *report_port;
	struct console *console;
	struct console *report;
	struct cmos *cmos;
	struct power *power;
	struct pvpanic pvpanic;
	struct log_limit panic_log;
	struct devices devices;
	struct board *board;

	pthread_mutex_t end_lock;
	bool ended; /* guarded by end_lock, as is end */
	struct machine_end end;
};

/* Any thread. The first reason counts; later ones are consequences. */
static void end_machine(struct machine *machine, const struct machine_end *end)
{
	bool first;

	pthread_mutex_lock(&machine->end_lock);
	first = !machine->ended;
	if (first) {
		machine->ended = true;
		machine->end = *end;
	}
	pthread_mutex_unlock(&machine->end_lock);
	if (!first)
		return;
	board_request_stop(machine->board);
	fd_signal(machine->end_fd);
}

static void end_for(struct machine *machine, enum machine_end_reason reason)
{
	end_machine(machine, &(struct machine_end){.reason = reason});
}

/* vCPU threads. */
static void on_power_off(void *context)
{
	end_for(context, MACHINE_POWERED_OFF);
}

/* vCPU threads. */
static void on_reset(void *context)
{
	end_for(context, MACHINE_RESET);
}

/* Any thread. */
static void on_alarm(void *context)
{
	struct machine *machine = context;

	power_rtc_alarm(machine->power);
}

/* vCPU threads. */
static void on_panic(void *context, unsigned events)
{
	struct machine *machine = context;

	if (events & PVPANIC_PANICKED)
		end_for(machine, MACHINE_PANICKED);
	else if (log_limit_allows(&machine->panic_log))
		log_warning("the guest's kernel has panicked and runs its crash kernel");
}

/* vCPU threads. */
static void on_vcpu_ended(void *context, const struct vcpu_end *ended)
{
	static const enum machine_end_reason reasons[] = {
		[VCPU_END_SHUTDOWN] = MACHINE_TRIPLE_FAULT,
		[VCPU_END_POWER_OFF] = MACHINE_POWERED_OFF,
		[VCPU_END_RESET] = MACHINE_RESET,
		[VCPU_END_CRASH] = MACHINE_PANICKED,
		[VCPU_END_CANNOT_RUN] = MACHINE_FAILED,
		[VCPU_END_HOST_FAILURE] = MACHINE_FAILED,
	};

	end_machine(context,
		&(struct machine_end){.reason = reasons[ended->reason], .error = ended->error});
}

static void on_leave(void *context)
{
	end_for(context, MACHINE_LEFT);
}

static void on_power_key(void *context)
{
	struct machine *machine = context;

	power_press_button(machine->power);
}

static void on_signal(void *context, int number)
{
	struct machine *machine = context;

	if (signals_ends(number)) {
		end_machine(machine,
			&(struct machine_end){.reason = MACHINE_SIGNALLED, .signal = number});
		return;
	}
	for (unsigned i = 0; i < machine->devices.disk_count; i++) {
		int result = blk_device_refresh_capacity(machine->devices.disks[i]);

		if (result)
			log_info("disk%u: %s", i, result > 0 ? "new capacity" : strerror(-result));
	}
}

static void on_end(void *context, uint32_t events)
{
	struct machine *machine = context;

	(void)events;
	fd_drain(machine->end_fd);
	evloop_stop(machine->loop, 0);
}

/* Devices are reset, and so drop their lines, while there is no board: nobody listens then. */
static void set_line(void *context, bool level)
{
	struct machine_line *line = context;

	if (line->machine->board)
		board_set_line(line->machine->board, line->gsi, level);
}

static struct irq_line make_line(struct machine *machine, int index, int gsi)
{
	machine->lines[index] = (struct machine_line){.machine = machine, .gsi = gsi};
	return (struct irq_line){.set = set_line, .context = &machine->lines[index]};
}

/* What lies below the PCI hole; the rest of RAM begins at LAYOUT_HIGH_RAM_GPA. */
static uint64_t low_ram_size(const struct machine *machine)
{
	return min_of(machine->config->memory_size, (uint64_t)LAYOUT_LOW_RAM_END);
}

static int create_memory(struct machine *machine, struct error *error)
{
	uint64_t size = machine->config->memory_size;
	uint64_t low = low_ram_size(machine);
	const struct guest_memory_range ranges[] = {
		{.gpa = 0, .size = low},
		{.gpa = LAYOUT_HIGH_RAM_GPA, .size = size - low},
	};
	long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);

	if (pages > 0 && page > 0 && size > (uint64_t)pages * (uint64_t)page)
		return error_set(error, -ENOMEM,
			"--memory %lluM: the host has only %lluM; ask for less",
			(unsigned long long)(size >> 20),
			(unsigned long long)pages * (unsigned long long)page >> 20);
	return guest_memory_create(
		ranges, size > low ? 2 : 1, &machine->config->memory, &machine->memory, error);
}

static int open_report(struct machine *machine, struct error *error)
{
	const char *path = machine->config->report_path;

	if (!path)
		return 0;
	machine->report_fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (machine->report_fd >= 0)
		return 0;
	return error_set(error, -errno, "--report %s: cannot write it: %s", path, strerror(errno));
}

static int create_consoles(
	struct machine *machine, const struct machine_console *console, struct error *error)
{
	const struct console_options console_options = {
		.loop = machine->loop,
		.serial = machine->console_port,
		.name = "the console",
		.input_fd = console->input_fd,
		.output_fd = console->output_fd,
		.escape_keys = console->escape_keys,
		.leave = on_leave,
		.press_power = on_power_key,
		.context = machine,
	};
	const struct console_options report_options = {
		.loop = machine->loop,
		.serial = machine->report_port,
		.name = "--report",
		.input_fd = -1,
		.output_fd = machine->report_fd,
	};
	int result = console_create(&console_options, &machine->console, error);

	if (!result)
		result = console_create(&report_options, &machine->report, error);
	return result;
}

static int create_chips(struct machine *machine)
{
	const struct irq_line console = make_line(machine, LINE_CONSOLE, LAYOUT_IRQ_COM1);
	const struct irq_line report = make_line(machine, LINE_REPORT, LAYOUT_IRQ_COM2);
	uint64_t size = machine->config->memory_size;
	uint64_t low = low_ram_size(machine);
	const struct cmos_config cmos = {
		.irq = make_line(machine, LINE_CMOS, CMOS_IRQ),
		.low_ram_size = low,
		.high_ram_size = size - low,
		.cpu_count = machine->config->cpus,
		.alarm = on_alarm,
		.alarm_context = machine,
	};
	const struct power_config power = {
		.sci = make_line(machine, LINE_SCI, LAYOUT_IRQ_SCI),
		.power_off = on_power_off,
		.reset = on_reset,
		.context = machine,
	};
	int result = serial_create(&console, &machine->console_port);

	if (!result)
		result = serial_create(&report, &machine->report_port);
	if (!result)
		result = cmos_create(&cmos, &machine->cmos);
	if (!result)
		result = power_create(&power, &machine->power);
	machine->pvpanic = (struct pvpanic){.event = on_panic, .context = machine};
	return result;
}

static int watch(struct machine *machine)
{
	int result = evloop_add(machine->loop, machine->end_fd, EPOLLIN, on_end, machine);

	if (!result)
		result = evloop_add(machine->loop, cmos_timer_fd(machine->cmos), EPOLLIN,
			cmos_timer_expired, machine->cmos);
	if (!result)
		result = evloop_add(machine->loop, power_timer_fd(machine->power), EPOLLIN,
			power_timer_expired, machine->power);
	return result;
}

static int create_board(struct machine *machine, struct error *error)
{
	const struct machine_config *config = machine->config;
	const struct board_config board = {
		.kvm_path = config->kvm_path,
		.memory = machine->memory,
		.cpus = config->cpus,
		.knobs = config->knobs,
		.vcpu_pins = &config->vcpu_pins,
		.console = machine->console_port,
		.report = machine->report_port,
		.cmos = machine->cmos,
		.power = machine->power,
		.pvpanic = &machine->pvpanic,
		.devices = machine->devices.virtio,
		.device_count = machine->devices.virtio_count,
		.kernel = config->kernel,
		.initrd = config->initrd,
		.cmdline = config->cmdline,
		.ended = on_vcpu_ended,
		.ended_context = machine,
	};

	return board_create(&board, &machine->board, error);
}

static int build(
	struct machine *machine, const struct machine_console *console, struct error *error)
{
	int result;

	machine->end_fd = fd_eventfd();
	if (machine->end_fd < 0)
		return machine->end_fd;
	result = evloop_create(&machine->loop);
	if (!result)
		result = create_chips(machine);
	if (!result)
		result = watch(machine);
	if (!result)
		result = open_report(machine, error);
	if (!result)
		result = create_consoles(machine, console, error);
	if (!result)
		result = create_memory(machine, error);
	/* Until here a signal may end the process by itself: memory takes a while, a pipe waits. */
	if (!result)
		result = signals_create(machine->loop, on_signal, machine, &machine->signals);
	if (!result)
		result = devices_init(
			&machine->devices, machine->config, machine->memory, machine->loop, error);
	if (!result)
		result = create_board(machine, error);
	return result;
}

int machine_create(const struct machine_config *config, const struct machine_console *console,
	struct machine **ret_machine, struct error *error)
{
	struct machine *machine = calloc(1, sizeof(*machine));
	int result;

	if (!machine)
		return -ENOMEM;
	machine->config = config;
	machine->end_fd = machine->report_fd = -1;
	pthread_mutex_init(&machine->end_lock, NULL);
	result = build(machine, console, error);
	if (result) {
		machine_destroy(machine);
		return error_set(error, result, "cannot build the machine: %s", strerror(-result));
	}
	*ret_machine = machine;
	return 0;
}

/* The board goes first, and the pointer before it: see set_line(). */
static void destroy_board(struct machine *machine)
{
	struct board *board = take_pointer(machine->board);

	board_destroy(board);
}

void machine_destroy(struct machine *machine)
{
	if (!machine)
		return;
	destroy_board(machine);
	devices_deinit(&machine->devices);
	guest_memory_destroy(machine->memory);
	console_destroy(machine->console);
	console_destroy(machine->report);
	power_destroy(machine->power);
	cmos_destroy(machine->cmos);
	serial_destroy(machine->report_port);
	serial_destroy(machine->console_port);
	signals_destroy(machine->signals);
	evloop_destroy(machine->loop);
	cleanup_fd(&machine->report_fd);
	cleanup_fd(&machine->end_fd);
	pthread_mutex_destroy(&machine->end_lock);
	free(machine);
}

int machine_run(struct machine *machine, struct machine_end *ret_end)
{
	struct machine_end failed = {.reason = MACHINE_FAILED, .error = ERROR_INIT};
	int result;

	machine->ended = false;
	result = board_start(machine->board, &failed.error);
	if (!result) {
		result = evloop_run(machine->loop);
		if (result)
			error_set(&failed.error, result, "the event loop failed: %s",
				strerror(-result));
	}
	board_stop(machine->board);
	console_flush(machine->console, FLUSH_TIMEOUT_MS);
	console_flush(machine->report, FLUSH_TIMEOUT_MS);
	fd_drain(machine->end_fd);
	*ret_end = result ? failed : machine->end;
	return result;
}

int machine_reset(struct machine *machine, struct error *error)
{
	destroy_board(machine);
	serial_reset(machine->console_port);
	serial_reset(machine->report_port);
	cmos_reset(machine->cmos);
	power_reset(machine->power);
	return create_board(machine, error);
}

const struct board *machine_board(const struct machine *machine)
{
	return machine->board;
}

const struct devices *machine_devices(const struct machine *machine)
{
	return &machine->devices;
}
