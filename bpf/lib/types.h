/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Integer types and the two attributes used everywhere. Everything else comes
 * from the UAPI headers of the build machine, never from a kernel's vmlinux.h:
 * the programs touch no kernel structure and so need no relocation.
 */
#pragma once

#include <linux/types.h>

#include <stdbool.h>
#include <stddef.h>

#define MAC_BYTES 6

#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif
#ifndef __noinline
#define __noinline __attribute__((noinline))
#endif

#define likely(condition)   __builtin_expect(!!(condition), 1)
#define unlikely(condition) __builtin_expect(!!(condition), 0)
