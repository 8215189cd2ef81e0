/* SPDX-License-Identifier: Apache-2.0 */
/* A descriptor on the event loop of the environment that made it. */
#pragma once

#include <functional>
#include <memory>

#include <napi.h>
#include <uv.h>

#include "handle.h"

namespace fimbria
{

/*
 * Calls a JavaScript-safe function whenever a descriptor is readable. Owned by one JavaScript object, which
 * stays alive while it polls; freed on the loop after Stop. When the environment ends first, `on_exit` is
 * told to Stop it.
 */
class Poller
{
      public:
	Poller(Napi::Env env, int fd, std::shared_ptr<void> keep, std::function<void()> on_ready,
	       std::function<void()> on_exit);

	void Ref();
	void Unref();
	/* Ends polling; the poller frees itself and what it keeps. Its owner forgets it. */
	void Stop();

      private:
	~Poller() = default;
	static void OnPoll(uv_poll_t *poll, int status, int events);
	static void OnExit(napi_async_cleanup_hook_handle hook, void *data);

	Napi::Env env_;
	std::unique_ptr<Napi::AsyncContext> context_;
	std::shared_ptr<void> keep_;
	std::function<void()> on_ready_;
	std::function<void()> on_exit_;
	napi_async_cleanup_hook_handle hook_ = nullptr;
	uv_poll_t poll_;
};

} // namespace fimbria
