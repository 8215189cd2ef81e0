/* SPDX-License-Identifier: Apache-2.0 */
#include "args.h"

#include <cmath>
#include <fcntl.h>

#include "failure.h"

namespace fimbria
{

static Failure Wrong(const char *what, const char *why)
{
	return Failure("EINVAL", "use", what, why);
}

Bytes BytesOf(const Napi::Value &value, const char *what)
{
	if (!value.IsTypedArray() ||
	    value.As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array)
		throw Wrong(what, "it is no Uint8Array");
	Napi::Uint8Array array = value.As<Napi::Uint8Array>();
	return { array.Data(), array.ByteLength() };
}

const void *ExactBytes(const Napi::Value &value, size_t size, const char *what,
		       const std::string &object)
{
	Bytes bytes = BytesOf(value, what);
	if (bytes.size != size)
		throw Failure("ERANGE", "access", object,
			      "a " + std::string(what) + " of " + std::to_string(bytes.size) +
				      " bytes was given where " + std::to_string(size) + " belong");
	return bytes.data;
}

std::string StringOf(const Napi::Value &value, const char *what)
{
	if (!value.IsString())
		throw Wrong(what, "it is no text");
	std::string text = value.As<Napi::String>().Utf8Value();
	if (text.find('\0') != std::string::npos)
		throw Wrong(what, "it holds a zero byte");
	return text;
}

uint32_t Uint32Of(const Napi::Value &value, const char *what)
{
	if (!value.IsNumber())
		throw Wrong(what, "it is no number");
	double number = value.As<Napi::Number>().DoubleValue();
	if (!(number >= 0 && number <= UINT32_MAX) || std::floor(number) != number)
		throw Wrong(what, "it is no whole number from 0 to 4294967295");
	return static_cast<uint32_t>(number);
}

bool IsNothing(const Napi::Value &value)
{
	return value.IsEmpty() || value.IsUndefined() || value.IsNull();
}

SharedFd NetnsOf(const Napi::Value &value)
{
	if (IsNothing(value))
		return nullptr;
	if (value.IsNumber()) {
		uint32_t fd = Uint32Of(value, "network namespace");
		return Duplicate(static_cast<int>(fd), "use",
				 "network namespace " + std::to_string(fd));
	}
	std::string path = StringOf(value, "network namespace");
	return Own(open(path.c_str(), O_RDONLY | O_CLOEXEC), "open", "network namespace " + path);
}

Napi::Value BufferOf(Napi::Env env, const void *data, size_t size)
{
	return Napi::Buffer<uint8_t>::Copy(env, static_cast<const uint8_t *>(data), size);
}

} // namespace fimbria
