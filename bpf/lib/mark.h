/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The source's identity across the host's network stack, in the packet's mark. */
#pragma once

#include <linux/bpf.h>

#include "abi.h"

static __always_inline __u32 mark_of_identity(__u32 identity)
{
	return MARK_MAGIC_IDENTITY | identity << 16 | (identity >> 16 & 0xFF);
}

/* In one instruction: a compiler that shares the field's address between branches makes a pointer that the verifier refuses. */
static __always_inline void set_mark(struct __sk_buff *skb, __u32 mark)
{
	asm volatile("*(u32 *)(%[skb] + %[at]) = %[mark]"
		     :
		     : [skb] "r"(skb), [at] "i"(offsetof(struct __sk_buff, mark)), [mark] "r"(mark)
		     : "memory");
}

static __always_inline void mark_identity(struct __sk_buff *skb, __u32 identity)
{
	set_mark(skb, mark_of_identity(identity));
}

/* IDENTITY_UNKNOWN when the mark says nothing. */
static __always_inline __u32 identity_of_mark(__u32 mark)
{
	switch (mark & MARK_MAGIC_MASK) {
	case MARK_MAGIC_IDENTITY:
		return mark >> 16 | (mark & 0xFF) << 16;
	case MARK_MAGIC_HOST:
		return IDENTITY_HOST;
	default:
		return IDENTITY_UNKNOWN;
	}
}
