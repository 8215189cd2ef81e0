/* SPDX-License-Identifier: Apache-2.0 */
/* Types of keys and values, out of BTF. */
#pragma once

#include <cstdint>

#include <napi.h>
#include <bpf/btf.h>

namespace fimbria
{

/* { key, value }: name and leaf fields of each; undefined where the map has no such type. */
Napi::Value TypesOf(Napi::Env env, const struct btf *btf, uint32_t key, uint32_t value);

} // namespace fimbria
