/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The registers of a 16550A (National Semiconductor PC16550D data sheet) between two rings.
 *
 * Transmission takes no time: a byte written to THR goes to the output ring at once, and THR is
 * empty again. Only when the ring has less room than a full FIFO burst of 16 bytes does THR stay
 * full, until the host has taken some: a driver that looks at LSR or waits for the interrupt loses
 * nothing and no vCPU ever waits for the host's terminal.
 *
 * Reception: bytes wait in the input ring, "on the wire", and the first of them, up to 16, show in
 * the FIFO while the guest listens: when its receive interrupt is on, or when it polls, which shows
 * in LSR being read several times with nothing else done. Drivers empty the FIFO and read stray
 * bytes while they set the port up; here that makes bytes arrive later instead of never, so that
 * what was typed or piped in early is not lost.
 *
 * One mutex guards it all: vCPU threads on the register side, the main thread on the ring side. The
 * interrupt line is set under it, so that levels cannot overtake each other.
 */
#include "machine/serial.h"

#include "util/checked.h"
#include "util/fd.h"

#include <errno.h>
#include <linux/serial_reg.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FIFO_SIZE    16u
#define OUTPUT_SIZE  65536u
#define INPUT_SIZE   4096u
#define POLLING_AT   8 /* reads of LSR in a row that mean that the guest polls for input */
#define DIVISOR_9600 12

#define IER_MASK          (UART_IER_RDI | UART_IER_THRI | UART_IER_RLSI | UART_IER_MSI)
#define MCR_MASK          0x1f /* LOOP, OUT2, OUT1, RTS, DTR */
#define IIR_FIFO          0xc0
#define IIR_TIMEOUT       0x0c /* data below the trigger level */
#define FCR_TRIGGER_SHIFT 6

/* The other end is there and ready, and stays so. */
#define LINE_STATUS (UART_MSR_DCD | UART_MSR_DSR | UART_MSR_CTS)

struct ring {
	uint8_t *bytes;
	size_t size; /* a power of two */
	size_t head; /* next to take; both count up for ever */
	size_t tail; /* next to put */
};

struct serial {
	pthread_mutex_t lock; /* all of the following */
	struct irq_line irq;
	int notify_fd;
	bool level;        /* of the interrupt line */
	bool output_armed; /* the host waits for output */
	bool input_armed;  /* the host waits for input room */
	bool thr_pending;  /* THR became empty and the guest has not yet been told */
	bool overrun;
	uint8_t ier, fcr, lcr, mcr, scratch;
	uint8_t msr_delta;
	uint16_t divisor;
	unsigned polls; /* reads of LSR since the last write to any register */
	uint64_t dropped;
	unsigned arrived; /* bytes of the input ring that show in the FIFO */
	unsigned loop_head, loop_count;
	uint8_t loop[FIFO_SIZE]; /* the FIFO in loopback mode, and what that has left */
	struct ring output, input;
	uint8_t output_bytes[OUTPUT_SIZE];
	uint8_t input_bytes[INPUT_SIZE];
};

static size_t ring_used(const struct ring *ring)
{
	return ring->tail - ring->head;
}

static size_t ring_room(const struct ring *ring)
{
	return ring->size - ring_used(ring);
}

static size_t ring_put(struct ring *ring, const uint8_t *data, size_t length)
{
	size_t count = min_of(length, ring_room(ring));
	size_t at = ring->tail & (ring->size - 1);
	size_t first = min_of(count, ring->size - at);

	memcpy(ring->bytes + at, data, first);
	memcpy(ring->bytes, data + first, count - first);
	ring->tail += count;
	return count;
}

static size_t ring_take(struct ring *ring, uint8_t *data, size_t length)
{
	size_t count = min_of(length, ring_used(ring));
	size_t at = ring->head & (ring->size - 1);
	size_t first = min_of(count, ring->size - at);

	memcpy(data, ring->bytes + at, first);
	memcpy(data + first, ring->bytes, count - first);
	ring->head += count;
	return count;
}

static bool thr_empty(const struct serial *serial)
{
	return ring_room(&serial->output) >= FIFO_SIZE;
}

static bool fifo_enabled(const struct serial *serial)
{
	return serial->fcr & UART_FCR_ENABLE_FIFO;
}

static unsigned fifo_depth(const struct serial *serial)
{
	return fifo_enabled(serial) ? FIFO_SIZE : 1;
}

static unsigned fifo_trigger(const struct serial *serial)
{
	static const uint8_t levels[] = {1, 4, 8, 14};

	return fifo_enabled(serial) ? levels[serial->fcr >> FCR_TRIGGER_SHIFT] : 1;
}

static unsigned fifo_count(const struct serial *serial)
{
	return serial->loop_count + serial->arrived;
}

static void clear_fifo(struct serial *serial)
{
	serial->loop_count = 0;
	serial->arrived = 0;
}

static void loop_push(struct serial *serial, uint8_t byte)
{
	if (fifo_count(serial) >= fifo_depth(serial)) {
		serial->overrun = true;
		return;
	}
	serial->loop[(serial->loop_head + serial->loop_count) % FIFO_SIZE] = byte;
	serial->loop_count++;
}

static uint8_t receive(struct serial *serial)
{
	uint8_t byte = 0;

	if (serial->loop_count) {
		byte = serial->loop[serial->loop_head];
		serial->loop_head = (serial->loop_head + 1) % FIFO_SIZE;
		serial->loop_count--;
	} else if (serial->arrived) {
		ring_take(&serial->input, &byte, 1);
		serial->arrived--;
	}
	return byte;
}

/* In loopback mode the modem control outputs are the modem status inputs. */
static uint8_t modem_lines(const struct serial *serial)
{
	uint8_t mcr = serial->mcr;

	if (!(mcr & UART_MCR_LOOP))
		return LINE_STATUS;
	return (uint8_t)((mcr & UART_MCR_RTS ? UART_MSR_CTS : 0) |
			 (mcr & UART_MCR_DTR ? UART_MSR_DSR : 0) |
			 (mcr & UART_MCR_OUT1 ? UART_MSR_RI : 0) |
			 (mcr & UART_MCR_OUT2 ? UART_MSR_DCD : 0));
}

/* The highest pending interrupt, as IIR's low four bits (data sheet, table IV). */
static uint8_t pending_interrupt(const struct serial *serial)
{
	if ((serial->ier & UART_IER_RLSI) && serial->overrun)
		return UART_IIR_RLSI;
	if ((serial->ier & UART_IER_RDI) && fifo_count(serial))
		return fifo_count(serial) >= fifo_trigger(serial) ? UART_IIR_RDI : IIR_TIMEOUT;
	if ((serial->ier & UART_IER_THRI) && serial->thr_pending)
		return UART_IIR_THRI;
	if ((serial->ier & UART_IER_MSI) && serial->msr_delta)
		return UART_IIR_MSI;
	return UART_IIR_NO_INT;
}

static bool guest_listens(const struct serial *serial)
{
	if (serial->mcr & UART_MCR_LOOP)
		return false;
	return (serial->ier & UART_IER_RDI) || serial->polls >= POLLING_AT;
}

/* What follows from any change: bytes arrive from the wire, and the line takes its level. */
static void update(struct serial *serial)
{
	unsigned depth = fifo_depth(serial);
	bool level;

	if (guest_listens(serial) && serial->loop_count < depth)
		serial->arrived = (unsigned)min_of(
			ring_used(&serial->input), (size_t)(depth - serial->loop_count));
	if (serial->input_armed && ring_room(&serial->input) >= INPUT_SIZE / 2) {
		serial->input_armed = false;
		fd_signal(serial->notify_fd);
	}
	level = pending_interrupt(serial) != UART_IIR_NO_INT;
	if (level == serial->level)
		return;
	serial->level = level;
	irq_line_set(&serial->irq, level);
}

static void transmit(struct serial *serial, uint8_t byte)
{
	if (serial->mcr & UART_MCR_LOOP) {
		loop_push(serial, byte);
		serial->thr_pending = true;
		return;
	}
	if (!ring_put(&serial->output, &byte, 1))
		serial->dropped++;
	serial->thr_pending = thr_empty(serial);
	if (serial->output_armed) {
		serial->output_armed = false;
		fd_signal(serial->notify_fd);
	}
}

static void write_ier(struct serial *serial, uint8_t value)
{
	bool was_on = serial->ier & UART_IER_THRI;

	serial->ier = value & IER_MASK;
	/* Switching the THR interrupt on while THR is empty raises it. */
	if (!was_on && (serial->ier & UART_IER_THRI) && thr_empty(serial))
		serial->thr_pending = true;
}

static void write_fcr(struct serial *serial, uint8_t value)
{
	bool changed = (value ^ serial->fcr) & UART_FCR_ENABLE_FIFO;

	/* A change of the enable bit clears both FIFOs; the other bits count only while it is set.
	 */
	if (changed || (value & (UART_FCR_ENABLE_FIFO | UART_FCR_CLEAR_RCVR)) ==
			       (UART_FCR_ENABLE_FIFO | UART_FCR_CLEAR_RCVR))
		clear_fifo(serial);
	serial->fcr = value & UART_FCR_ENABLE_FIFO ? value : 0;
}

static void write_mcr(struct serial *serial, uint8_t value)
{
	uint8_t before = modem_lines(serial), changed;

	serial->mcr = value & MCR_MASK;
	changed = before ^ modem_lines(serial);
	/* Delta bits stand four below their lines; the ring indicator's shows falling edges only.
	 */
	serial->msr_delta |=
		(uint8_t)((changed & (UART_MSR_DCD | UART_MSR_DSR | UART_MSR_CTS)) >> 4);
	if (before & changed & UART_MSR_RI)
		serial->msr_delta |= UART_MSR_TERI;
}

static void write_register(struct serial *serial, unsigned offset, uint8_t value)
{
	bool divisor_access = serial->lcr & UART_LCR_DLAB;

	serial->polls = 0;
	switch (offset) {
	case UART_TX:
		if (divisor_access)
			serial->divisor = (uint16_t)((serial->divisor & 0xff00) | value);
		else
			transmit(serial, value);
		break;
	case UART_IER:
		if (divisor_access)
			serial->divisor = (uint16_t)((serial->divisor & 0x00ff) | value << 8);
		else
			write_ier(serial, value);
		break;
	case UART_FCR:
		write_fcr(serial, value);
		break;
	case UART_LCR:
		serial->lcr = value;
		break;
	case UART_MCR:
		write_mcr(serial, value);
		break;
	case UART_SCR:
		serial->scratch = value;
		break;
	default: /* LSR and MSR are read-only */
		break;
	}
}

static uint8_t read_iir(struct serial *serial)
{
	uint8_t pending = pending_interrupt(serial);

	/* Reading IIR takes the THR interrupt back, if that is the one it shows. */
	if (pending == UART_IIR_THRI)
		serial->thr_pending = false;
	return pending | (fifo_enabled(serial) ? IIR_FIFO : 0);
}

static uint8_t read_lsr(struct serial *serial)
{
	uint8_t lsr = thr_empty(serial) ? UART_LSR_THRE | UART_LSR_TEMT : 0;

	/* While THR is full, the guest may just as well be waiting for that. */
	if (lsr && serial->polls < POLLING_AT && ++serial->polls == POLLING_AT)
		update(serial);
	if (fifo_count(serial))
		lsr |= UART_LSR_DR;
	if (serial->overrun)
		lsr |= UART_LSR_OE;
	serial->overrun = false;
	return lsr;
}

static uint8_t read_register(struct serial *serial, unsigned offset)
{
	bool divisor_access = serial->lcr & UART_LCR_DLAB;
	uint8_t value;

	switch (offset) {
	case UART_RX:
		return divisor_access ? (uint8_t)serial->divisor : receive(serial);
	case UART_IER:
		return divisor_access ? (uint8_t)(serial->divisor >> 8) : serial->ier;
	case UART_IIR:
		return read_iir(serial);
	case UART_LCR:
		return serial->lcr;
	case UART_MCR:
		return serial->mcr;
	case UART_LSR:
		return read_lsr(serial);
	case UART_MSR:
		value = modem_lines(serial) | serial->msr_delta;
		serial->msr_delta = 0;
		return value;
	case UART_SCR:
		return serial->scratch;
	default:
		return 0xff;
	}
}

static void reset_registers(struct serial *serial)
{
	serial->thr_pending = false;
	serial->overrun = false;
	serial->ier = serial->fcr = serial->lcr = serial->mcr = serial->scratch = 0;
	serial->msr_delta = 0;
	serial->divisor = DIVISOR_9600;
	serial->polls = 0;
	clear_fifo(serial);
}

int serial_create(const struct irq_line *irq, struct serial **ret_serial)
{
	struct serial *serial = calloc(1, sizeof(*serial));

	if (!serial)
		return -ENOMEM;
	serial->notify_fd = fd_eventfd();
	if (serial->notify_fd < 0) {
		int code = serial->notify_fd;

		free(serial);
		return code;
	}
	pthread_mutex_init(&serial->lock, NULL);
	serial->irq = *irq;
	serial->output = (struct ring){.bytes = serial->output_bytes, .size = OUTPUT_SIZE};
	serial->input = (struct ring){.bytes = serial->input_bytes, .size = INPUT_SIZE};
	reset_registers(serial);
	*ret_serial = serial;
	return 0;
}

void serial_destroy(struct serial *serial)
{
	if (!serial)
		return;
	close(serial->notify_fd);
	pthread_mutex_destroy(&serial->lock);
	free(serial);
}

void serial_reset(struct serial *serial)
{
	pthread_mutex_lock(&serial->lock);
	reset_registers(serial);
	update(serial);
	pthread_mutex_unlock(&serial->lock);
}

void serial_read(void *context, uint64_t offset, void *data, unsigned length)
{
	struct serial *serial = context;
	uint8_t *bytes = data;

	pthread_mutex_lock(&serial->lock);
	for (unsigned i = 0; i < length; i++)
		bytes[i] = read_register(serial, (unsigned)(offset + i));
	update(serial);
	pthread_mutex_unlock(&serial->lock);
}

void serial_write(void *context, uint64_t offset, const void *data, unsigned length)
{
	struct serial *serial = context;
	const uint8_t *bytes = data;

	pthread_mutex_lock(&serial->lock);
	for (unsigned i = 0; i < length; i++)
		write_register(serial, (unsigned)(offset + i), bytes[i]);
	update(serial);
	pthread_mutex_unlock(&serial->lock);
}

size_t serial_put_input(struct serial *serial, const void *data, size_t length)
{
	size_t count;

	pthread_mutex_lock(&serial->lock);
	count = ring_put(&serial->input, data, length);
	serial->input_armed = count < length;
	update(serial);
	pthread_mutex_unlock(&serial->lock);
	return count;
}

size_t serial_take_output(struct serial *serial, void *buffer, size_t size)
{
	bool was_empty;
	size_t count;

	pthread_mutex_lock(&serial->lock);
	was_empty = thr_empty(serial);
	count = ring_take(&serial->output, buffer, size);
	serial->output_armed = !count;
	if (!was_empty && thr_empty(serial))
		serial->thr_pending = true;
	update(serial);
	pthread_mutex_unlock(&serial->lock);
	return count;
}

int serial_notify_fd(const struct serial *serial)
{
	return serial->notify_fd;
}

uint64_t serial_dropped(struct serial *serial)
{
	uint64_t dropped;

	pthread_mutex_lock(&serial->lock);
	dropped = serial->dropped;
	pthread_mutex_unlock(&serial->lock);
	return dropped;
}
