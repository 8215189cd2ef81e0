/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* A program that the verifier refuses: it reads a map value without the null check. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u32);
} test_map SEC(".maps");

SEC("tc")
int test_broken(struct __sk_buff *skb)
{
	__u32 key = skb->mark;
	__u32 *value = bpf_map_lookup_elem(&test_map, &key);

	return *value;
}

SEC("tc")
int test_fine(struct __sk_buff *skb)
{
	return skb->mark != 0;
}

char _license[] SEC("license") = "Dual BSD/GPL";
