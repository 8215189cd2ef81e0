/* SPDX-License-Identifier: Apache-2.0 */
/* Reading arguments and making values; everything is checked, a wrong argument is a Failure. */
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <napi.h>

#include "handle.h"

namespace fimbria
{

/* A view of a Uint8Array: valid until JavaScript runs again. */
struct Bytes {
	const uint8_t *data;
	size_t size;
};

Bytes BytesOf(const Napi::Value &value, const char *what);
/* The same, of exactly `size` bytes. */
const void *ExactBytes(const Napi::Value &value, size_t size, const char *what,
		       const std::string &object);
std::string StringOf(const Napi::Value &value, const char *what);
uint32_t Uint32Of(const Napi::Value &value, const char *what);
bool IsNothing(const Napi::Value &value);

/* A namespace argument, opened: a path or a descriptor. Null when absent. */
SharedFd NetnsOf(const Napi::Value &value);

Napi::Value BufferOf(Napi::Env env, const void *data, size_t size);

} // namespace fimbria
