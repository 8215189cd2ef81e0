/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* MAC addresses, compared and copied as a word and a half. */
#pragma once

#include <linux/if_ether.h>

#include "types.h"

/* MACs sit at even offsets everywhere, no better: network headers are 2-byte aligned at least. */
struct mac_words {
	__u16 word[3];
} __attribute__((may_alias));

static __always_inline bool mac_equal(const void *left, const void *right)
{
	const struct mac_words *a = left, *b = right;

	return !((a->word[0] ^ b->word[0]) | (a->word[1] ^ b->word[1]) | (a->word[2] ^ b->word[2]));
}

static __always_inline void mac_copy(void *to, const void *from)
{
	*(struct mac_words *)to = *(const struct mac_words *)from;
}
