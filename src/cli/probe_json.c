/* SPDX-License-Identifier: Apache-2.0 */
/* The report for programs: one JSON object, the same facts as the text. */
#include "cli/probe_facts.h"

#include "util/checked.h"
#include "vcpu/cpuid.h"
#include "version.h"

#include <errno.h>
#include <jansson.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <string.h>

static void add_number(json_t *object, const char *name, uint64_t value)
{
	/* JSON integers are signed here: "unlimited" becomes null. */
	json_object_set_new(
		object, name, value == UINT64_MAX ? json_null() : json_integer((json_int_t)value));
}

static void add_bool(json_t *object, const char *name, bool value)
{
	json_object_set_new(object, name, json_boolean(value));
}

/* Texts of the kernel's may hold any bytes; what is not UTF-8 becomes null. */
static void add_text(json_t *object, const char *name, const char *text)
{
	json_t *value = json_string(text);

	json_object_set_new(object, name, value ? value : json_null());
}

/* null where it works, else why not. */
static void add_problem(json_t *object, const char *name, int result)
{
	if (result)
		add_text(object, name, strerror(-result));
	else
		json_object_set_new(object, name, json_null());
}

static json_t *verdict_document(const struct probe_verdict *verdict)
{
	static const char *const names[] = {
		[PROBE_RUNS_LINUX] = "linux",
		[PROBE_RUNS_NOTHING] = "nothing",
		[PROBE_RUNS_BARE] = "bare",
	};
	json_t *object = json_object();

	add_text(object, "runs", names[verdict->level]);
	add_number(object, "exit_status", verdict->level);
	add_text(object, "text", verdict->text);
	return object;
}

static json_t *kvm_document(const struct probe_facts *facts)
{
	static const char *const kinds[] = {
		[KVM_KIND_VMX] = "vmx", [KVM_KIND_SVM] = "svm", [KVM_KIND_SOFTWARE] = "software"};
	json_t *object = json_object(), *capabilities = json_object();
	size_t count;
	const struct kvm_capability *table = kvm_capability_table(&count);

	add_text(object, "path", facts->kvm_path);
	if (facts->kvm_result)
		add_text(object, "problem", facts->kvm_error.text);
	else
		json_object_set_new(object, "problem", json_null());
	for (size_t i = 0; facts->kvm && i < count; i++)
		add_number(capabilities, table[i].name,
			(uint64_t)kvm_has(facts->kvm, table[i].number));
	if (facts->kvm) {
		add_text(object, "kind", kinds[kvm_kind(facts->kvm)]);
		add_number(object, "max_vcpus", kvm_max_vcpus(facts->kvm));
		add_number(object, "interrupt_routes", kvm_max_routes(facts->kvm));
	}
	json_object_set_new(object, "capabilities", capabilities);
	return object;
}

static json_t *leaf_document(const struct kvm_cpuid_entry2 *entry)
{
	char text[16];
	json_t *object = json_object();
	const struct {
		const char *name;
		uint32_t value;
	} words[] = {{"leaf", entry->function}, {"subleaf", entry->index}, {"eax", entry->eax},
		{"ebx", entry->ebx}, {"ecx", entry->ecx}, {"edx", entry->edx}};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		snprintf(text, sizeof(text), "0x%08x", words[i].value);
		add_text(object, words[i].name, text);
	}
	return object;
}

static json_t *cpuid_document(const struct probe_facts *facts)
{
	json_t *object = json_object(), *features = json_object(), *leaves = json_array();
	size_t count;
	const struct cpuid_feature *table = cpuid_feature_table(&count);

	add_number(object, "vcpus", facts->vcpus);
	for (size_t i = 0; facts->cpuid && i < count; i++)
		add_bool(features, table[i].name, cpuid_has_feature(facts->cpuid, &table[i]));
	for (uint32_t i = 0; facts->cpuid && i < facts->cpuid->nent; i++)
		json_array_append_new(leaves, leaf_document(&facts->cpuid->entries[i]));
	json_object_set_new(object, "features", features);
	json_object_set_new(object, "leaves", leaves);
	return object;
}

static json_t *ring_document(const struct ring_features *ring)
{
	json_t *object = json_object();

	add_problem(object, "problem", ring->error);
	add_bool(object, "read_write", ring->op_read_write);
	add_bool(object, "fallocate", ring->op_fallocate);
	add_bool(object, "multishot_poll", ring->multishot_poll);
	add_bool(object, "single_issuer", ring->single_issuer);
	add_bool(object, "defer_taskrun", ring->defer_taskrun);
	add_bool(object, "submit_all", ring->submit_all);
	add_bool(object, "registered_ring", ring->registered_ring);
	add_bool(object, "sparse_files", ring->sparse_files);
	add_bool(object, "uring_cmd", ring->op_uring_cmd);
	add_bool(object, "vectored_fixed", ring->op_vectored_fixed);
	return object;
}

static json_t *network_document(const struct probe_host *host)
{
	json_t *object = json_object(), *offloads = json_array();
	const struct probe_network *network = &host->network;

	add_problem(object, "tun_problem", host->tun_error);
	add_problem(object, "vhost_net_problem", host->vhost_net_error);
	add_bool(object, "net_admin", host->net_admin);
	add_problem(object, "namespace_problem", network->namespace_error);
	if (!network->namespace_error) {
		add_problem(object, "tap_problem", network->tap_error);
		add_problem(object, "bridge_problem", network->bridge_error);
		for (size_t i = 0; i < PROBE_OFFLOADS; i++) {
			if (network->offloads & probe_offloads[i].bit)
				json_array_append_new(
					offloads, json_string(probe_offloads[i].name));
		}
	}
	json_object_set_new(object, "tap_offloads", offloads);
	return object;
}

static json_t *host_document(const struct probe_host *host)
{
	json_t *object = json_object();

	add_text(object, "kernel", host->kernel);
	add_text(object, "processor", host->processor);
	add_number(object, "cpus", host->cpus);
	add_number(object, "memory_bytes", host->memory_total);
	add_number(object, "memory_available_bytes", host->memory_available);
	add_number(object, "huge_2m_pages", host->huge_2m.total);
	add_number(object, "huge_2m_pages_free", host->huge_2m.free);
	add_text(object, "transparent_huge_pages", host->thp);
	add_number(object, "locked_memory_limit_bytes", host->memlock);
	add_number(object, "open_files_limit", host->nofile);
	return object;
}

int probe_print_json(const struct probe_facts *facts, const struct probe_verdict *verdict)
{
	json_t *document = json_object();
	int result;

	add_text(document, "fastvmm", FASTVMM_VERSION);
	json_object_set_new(document, "verdict", verdict_document(verdict));
	json_object_set_new(document, "host", host_document(&facts->host));
	json_object_set_new(document, "kvm", kvm_document(facts));
	json_object_set_new(document, "guest_cpuid", cpuid_document(facts));
	json_object_set_new(document, "io_uring", ring_document(&facts->ring));
	json_object_set_new(document, "network", network_document(&facts->host));
	result = json_dumpf(document, stdout, JSON_INDENT(2));
	json_decref(document);
	if (result || putchar('\n') == EOF || fflush(stdout))
		return errno ? -errno : -EIO;
	return 0;
}
