/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Working inside network namespaces. Entering one is a property of a thread, and the main thread and libuv's
 * pool are shared by everything else: only threads made for the purpose, which end right after, ever enter.
 */
#pragma once

#include <functional>

#include "handle.h"

namespace fimbria
{

/* Runs `work` on a thread of its own and waits; what it throws comes out here. */
void RunOnThread(const std::function<void()> &work);

/* Runs `work` inside the namespace, or right here when there is none. */
void RunInNetns(const SharedFd &netns, const std::function<void()> &work);

} // namespace fimbria
