/* SPDX-License-Identifier: Apache-2.0 */
/* The report for people: sections of "label  value" lines, and the verdict. */
#include "cli/probe_facts.h"

#include "net/net_config.h"
#include "util/checked.h"
#include "vcpu/cpuid.h"
#include "version.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define LABEL_WIDTH 16
#define VALUE_START (2 + LABEL_WIDTH + 2)
#define LINE_WIDTH  100

static void heading(const char *text)
{
	printf("\n%s\n", text);
}

/* Prints words from column @start on, the cursor being there already, broken before LINE_WIDTH. */
static void wrapped(int start, const char *text)
{
	int column = start;

	while (*text) {
		int length = (int)strcspn(text, " ");

		if (column > start && column + 1 + length > LINE_WIDTH) {
			printf("\n%*s", start, "");
			column = start;
		} else if (column > start) {
			putchar(' ');
			column++;
		}
		printf("%.*s", length, text);
		column += length;
		text += length;
		text += strspn(text, " ");
	}
	putchar('\n');
}

static void line(const char *label, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void line(const char *label, const char *format, ...)
{
	char value[1024];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(value, sizeof(value), format, arguments);
	va_end(arguments);
	printf("  %-*s  ", LABEL_WIDTH, label);
	wrapped(VALUE_START, value);
}

/* "23.4 GiB" in a buffer of the caller's. */
static const char *size_text(uint64_t bytes, char buffer[32])
{
	if (bytes == UINT64_MAX)
		return "unlimited";
	if (bytes >= 1ull << 30)
		snprintf(buffer, 32, "%.1f GiB", (double)bytes / (1u << 30));
	else if (bytes >= 1u << 20)
		snprintf(buffer, 32, "%llu MiB", (unsigned long long)(bytes >> 20));
	else
		snprintf(buffer, 32, "%llu KiB", (unsigned long long)(bytes >> 10));
	return buffer;
}

/* Appends a word with a separating blank, as far as there is room. */
static void append(char *list, size_t size, const char *word)
{
	size_t used = strlen(list);

	snprintf(list + used, size - used, "%s%s", used ? " " : "", word);
}

/* ---- KVM ---- */

static void print_kind(const struct probe_facts *facts)
{
	const struct kvm_evidence *evidence = &facts->evidence;
	char flags[32] = "", modules[64] = "";

	if (evidence->cpu_vmx)
		append(flags, sizeof(flags), "vmx");
	if (evidence->cpu_svm)
		append(flags, sizeof(flags), "svm");
	if (evidence->module_intel)
		append(modules, sizeof(modules), "kvm_intel");
	if (evidence->module_amd)
		append(modules, sizeof(modules), "kvm_amd");
	if (evidence->module_pvm)
		append(modules, sizeof(modules), "kvm_pvm");
	line("processor flags", "%s", flags[0] ? flags : "neither vmx nor svm");
	line("kernel module", "%s", modules[0] ? modules : "none");
}

static void print_capabilities(const struct kvm *kvm)
{
	size_t count;
	const struct kvm_capability *table = kvm_capability_table(&count);

	puts("  capabilities");
	for (size_t i = 0; i < count; i++) {
		int value = kvm_has(kvm, table[i].number);
		char number[16];

		snprintf(number, sizeof(number), "%d", value);
		printf("    %-22s  %-8s  %s%s\n", table[i].name,
			value == 0   ? "no"
			: value == 1 ? "yes"
				     : number,
			table[i].purpose, !value && table[i].required ? " (required)" : "");
	}
}

static void print_kvm(const struct probe_facts *facts)
{
	char text[128];

	heading("KVM");
	line("device", "%s", facts->kvm_path);
	if (facts->kvm) {
		kvm_describe(facts->kvm, text, sizeof(text));
		line("offers", "%s", text);
	}
	print_kind(facts);
	if (facts->kvm_result)
		line("problem", "%s",
			facts->kvm_error.text[0] ? facts->kvm_error.text
						 : strerror(-facts->kvm_result));
	if (!facts->kvm)
		return;
	line("vCPUs", "at most %u in fastvmm, %u recommended",
		min_of(kvm_max_vcpus(facts->kvm), (unsigned)CPUID_MAX_VCPUS),
		kvm_recommended_vcpus(facts->kvm));
	line("interrupt routes", "%u, of which 40 are the interrupt lines'",
		kvm_max_routes(facts->kvm));
	print_capabilities(facts->kvm);
}

/* ---- the guest's processor ---- */

static void print_identity(const struct kvm_cpuid2 *cpuid)
{
	const struct kvm_cpuid_entry2 *vendor = cpuid_find(cpuid, 0, 0);
	const struct kvm_cpuid_entry2 *version = cpuid_find(cpuid, 1, 0);
	unsigned family, model;

	if (!vendor || !version)
		return;
	family = version->eax >> 8 & 0xf;
	model = version->eax >> 4 & 0xf;
	if (family == 6 || family == 15)
		model |= version->eax >> 12 & 0xf0;
	if (family == 15)
		family += version->eax >> 20 & 0xff;
	line("identity", "%.4s%.4s%.4s, family %u, model %u, stepping %u",
		(const char *)&vendor->ebx, (const char *)&vendor->edx, (const char *)&vendor->ecx,
		family, model, version->eax & 0xf);
}

static void print_features(const struct kvm_cpuid2 *cpuid)
{
	char have[1024] = "", lack[1024] = "";
	size_t count;
	const struct cpuid_feature *table = cpuid_feature_table(&count);

	for (size_t i = 0; i < count; i++) {
		if (cpuid_has_feature(cpuid, &table[i]))
			append(have, sizeof(have), table[i].name);
		else
			append(lack, sizeof(lack), table[i].name);
	}
	line("has", "%s", have);
	line("lacks", "%s", lack);
}

static void print_leaves(const struct kvm_cpuid2 *cpuid)
{
	puts("  leaf        eax      ebx      ecx      edx      (all others are 0)");
	for (uint32_t i = 0; i < cpuid->nent; i++) {
		const struct kvm_cpuid_entry2 *entry = &cpuid->entries[i];

		if (entry->eax | entry->ebx | entry->ecx | entry->edx)
			printf("  %08x.%x  %08x %08x %08x %08x\n", entry->function, entry->index,
				entry->eax, entry->ebx, entry->ecx, entry->edx);
	}
}

static void print_cpuid(const struct probe_facts *facts)
{
	if (!facts->cpuid)
		return;
	heading("Guest processor (CPUID of vCPU 0)");
	print_identity(facts->cpuid);
	line("topology", "%u vCPU%s: 1 socket, %u core%s, 1 thread a core", facts->vcpus,
		facts->vcpus == 1 ? "" : "s", facts->vcpus, facts->vcpus == 1 ? "" : "s");
	print_features(facts->cpuid);
	print_leaves(facts->cpuid);
}

/* ---- the rest ---- */

static void print_ring(const struct ring_features *ring)
{
	const struct {
		const char *name;
		bool there;
	} features[] = {
		{"read/write", ring->op_read_write},
		{"fallocate", ring->op_fallocate},
		{"multishot poll", ring->multishot_poll},
		{"single issuer", ring->single_issuer},
		{"deferred task work", ring->defer_taskrun},
		{"submit all", ring->submit_all},
		{"registered ring", ring->registered_ring},
		{"sparse file table", ring->sparse_files},
		{"commands (uring_cmd)", ring->op_uring_cmd},
		{"vectored fixed buffers", ring->op_vectored_fixed},
	};
	char have[512] = "", lack[512] = "";

	heading("io_uring");
	if (ring->error) {
		line("problem", "not available: %s", strerror(-ring->error));
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(features); i++) {
		char *list = features[i].there ? have : lack;
		size_t used = strlen(list);

		snprintf(list + used, sizeof(have) - used, "%s%s", used ? ", " : "",
			features[i].name);
	}
	line("has", "%s", have[0] ? have : "nothing");
	line("lacks", "%s", lack[0] ? lack : "nothing that fastvmm uses");
}

static const char *device_text(int result)
{
	switch (result) {
	case 0:
		return "usable";
	case -ENOENT:
	case -ENODEV:
	case -ENXIO:
		return "not there";
	case -EACCES:
	case -EPERM:
		return "no permission";
	default:
		return strerror(-result);
	}
}

static void print_tried_network(const struct probe_network *network)
{
	char list[64] = "";

	if (network->namespace_error) {
		line("multi-queue tap", "not tried: no network namespace to do it in (%s)",
			strerror(-network->namespace_error));
		return;
	}
	line("multi-queue tap", "%s%s", network->tap_error ? "no: " : "yes", network->tap_text);
	for (size_t i = 0; i < PROBE_OFFLOADS; i++) {
		if (network->offloads & probe_offloads[i].bit)
			append(list, sizeof(list), probe_offloads[i].name);
	}
	if (!network->tap_error)
		line("tap offloads", "%s%s", list[0] ? list : "none",
			network->offloads & NET_OFFLOAD_USO ? "" : " (uso: Linux 6.2 or newer)");
	line("bridge", "%s", network->bridge_error ? strerror(-network->bridge_error) : "yes");
}

static void print_network(const struct probe_host *host)
{
	heading("Network");
	line("/dev/net/tun", "%s", device_text(host->tun_error));
	print_tried_network(&host->network);
	line("/dev/vhost-net", "%s", device_text(host->vhost_net_error));
	line("rights", "%s",
		host->net_admin
			? "may make taps and bridges (CAP_NET_ADMIN)"
			: "no CAP_NET_ADMIN: as this user, only a tap made for it beforehand: ip "
			  "tuntap add dev NAME mode tap multi_queue user $USER");
}

static void print_pages(const char *label, const struct probe_pages *pages)
{
	line(label, "%llu in the pool, %llu free%s", (unsigned long long)pages->total,
		(unsigned long long)pages->free,
		pages->total ? "" : " (reserve some in /proc/sys/vm/nr_hugepages)");
}

static void print_memory(const struct probe_host *host)
{
	char total[32], available[32];

	heading("Memory");
	line("RAM", "%s, %s available", size_text(host->memory_total, total),
		size_text(host->memory_available, available));
	print_pages("2 MiB pages", &host->huge_2m);
	if (!host->thp[0])
		line("transparent", "no transparent huge pages for guest RAM in this kernel");
	else if (!strcmp(host->thp, "never"))
		line("transparent", "off for guest RAM (never); to switch on: echo madvise > "
				    "/sys/kernel/mm/transparent_hugepage/enabled");
	else
		line("transparent", "on for guest RAM (%s)", host->thp);
}

static void print_limits(const struct probe_host *host)
{
	char memlock[32];

	heading("Limits");
	line("locked memory", "%s (ulimit -l)%s", size_text(host->memlock, memlock),
		host->memlock == UINT64_MAX ? "" : "; registered guest memory counts, unless root");
	if (host->nofile == UINT64_MAX)
		line("open files", "unlimited");
	else
		line("open files", "%llu (ulimit -n); each queue takes two",
			(unsigned long long)host->nofile);
}

void probe_print_text(const struct probe_facts *facts, const struct probe_verdict *verdict)
{
	const struct probe_host *host = &facts->host;

	printf("fastvmm " FASTVMM_VERSION " on Linux %s\n", host->kernel);
	printf("%u CPU%s: %s\n", host->cpus, host->cpus == 1 ? "" : "s", host->processor);
	print_kvm(facts);
	print_cpuid(facts);
	print_ring(&facts->ring);
	print_network(host);
	print_memory(host);
	print_limits(host);
	printf("\nVerdict: ");
	wrapped(9, verdict->text);
}
