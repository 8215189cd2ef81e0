/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What a program has learnt about its packet so far. Lives in registers; metrics and events tell it. */
#pragma once

#include "abi.h"

struct flow {
	__u32 source_identity;
	__u32 destination_identity;
	__u16 endpoint_id; /* the local endpoint concerned */
	__u8 direction;	   /* enum direction */
	bool translated;   /* it has the addresses it is to leave with */
};
