/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Maps with every kind of field. */
#include <linux/bpf.h>
#include <linux/types.h>

#include <bpf/bpf_helpers.h>

enum colour {
	RED = 1
};

struct inner {
	__u16 port;
	__u8 bytes[2];
};

struct test_key {
	__be32 ipv4;
	struct inner inner;
};

struct test_value {
	__s64 balance;
	union {
		__u32 word;
		__u16 halves[2];
	};
	enum colour colour;
	struct inner list[2];
	__u32 low : 3;
	__u32 high : 29;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__type(key, struct test_key);
	__type(value, struct test_value);
} test_typed SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, 4);
	__uint(value_size, 8);
} test_untyped SEC(".maps");

char _license[] SEC("license") = "Dual BSD/GPL";
