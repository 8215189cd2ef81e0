/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Small programs for the tests of the libbpf module. */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

struct test_key {
	__u32 prefixlen;
	__u8 address[4];
};

struct test_value {
	__u32 identity;
	__u32 flags;
};

struct event {
	__u32 mark;
	__u32 length;
};

/* Per direction: how many packets passed. Pinned by name. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} test_counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, __u32);
} test_percpu SEC(".maps");

struct inner {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 64);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct test_key);
	__type(value, struct test_value);
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 8);
	__type(key, __u32);
	__array(values, struct inner);
} test_outer SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 64 * 1024);
} test_events SEC(".maps");

volatile const _Bool cfg_emit;
volatile const __u32 cfg_mark;
volatile const __s16 cfg_signed;
volatile const __u8 cfg_bytes[6];
/* By value, too: clang describes structs that it meets only behind an inner map's pointers as incomplete. */
volatile const struct test_key cfg_key;
volatile const struct test_value cfg_default;

static __always_inline int count(__u32 slot)
{
	__u64 *packets = bpf_map_lookup_elem(&test_counts, &slot);

	if (packets)
		__sync_fetch_and_add(packets, 1);
	return TC_ACT_OK;
}

SEC("tc")
int test_pass(struct __sk_buff *skb)
{
	if (cfg_emit) {
		struct event event = { .mark = skb->mark, .length = skb->len };

		bpf_ringbuf_output(&test_events, &event, sizeof(event), 0);
	}
	if (cfg_mark)
		skb->mark = cfg_mark + cfg_signed + cfg_bytes[0];
	return count(0);
}

SEC("tc")
int test_drop(__attribute__((unused)) struct __sk_buff *skb)
{
	count(1);
	return TC_ACT_SHOT;
}

/* Looks cfg_key's identity up in the inner map of slot 3 and returns it. */
SEC("tc")
int test_inner(__attribute__((unused)) struct __sk_buff *skb)
{
	struct test_key key = cfg_key;
	__u32 slot = 3;
	void *inner = bpf_map_lookup_elem(&test_outer, &slot);
	struct test_value *value = inner ? bpf_map_lookup_elem(inner, &key) : NULL;

	return value ? value->identity : cfg_default.identity;
}

char _license[] SEC("license") = "Dual BSD/GPL";
