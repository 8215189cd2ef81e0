/* SPDX-License-Identifier: Apache-2.0 */
/* Failures inside the addon: thrown as C++ exceptions, converted to the project's own errors at the boundary. */
#pragma once

#include <exception>
#include <string>

#include <napi.h>

namespace fimbria
{

/* What went wrong, in the fields of the TypeScript side's ErrorDetail. Empty = absent. */
struct Failure : std::exception {
	std::string code;
	std::string op;
	std::string object;
	std::string why;
	std::string hint;
	std::string log;
	int err = 0;

	Failure(std::string code_, std::string op_, std::string object_, std::string why_)
		: code(std::move(code_)), op(std::move(op_)), object(std::move(object_)),
		  why(std::move(why_))
	{
	}

	const char *what() const noexcept override
	{
		return why.c_str();
	}
};

/* Name of a positive errno, also of those that only the kernel knows. */
std::string ErrnoName(int err);

/* A failure out of a positive errno. */
Failure Refused(int err, std::string op, std::string object);

/* The JavaScript error of a failure. */
Napi::Error ToJs(Napi::Env env, const Failure &failure);

/* Runs the body of a callback; whatever it throws leaves as a JavaScript error. */
template <typename Body> auto Guarded(Napi::Env env, Body body) -> decltype(body())
{
	try {
		return body();
	} catch (const Failure &failure) {
		throw ToJs(env, failure);
	} catch (const Napi::Error &) {
		throw;
	} catch (const std::exception &error) {
		throw ToJs(env, Failure("EIO", "run", "native code", error.what()));
	}
}

/* A free function as a guarded callback. */
template <Napi::Value (*Function)(const Napi::CallbackInfo &)>
Napi::Value Callback(const Napi::CallbackInfo &info)
{
	return Guarded(info.Env(), [&] { return Function(info); });
}

} // namespace fimbria
