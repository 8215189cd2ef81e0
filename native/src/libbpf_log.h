/* SPDX-License-Identifier: Apache-2.0 */
/* libbpf's messages: one process-wide callback that sorts them by thread, so that loads may run side by side. */
#pragma once

#include <string>

namespace fimbria
{

/* Takes libbpf's messages off stderr. Called by every environment; the first call counts. */
void InstallLibbpfLog();

/* Collects the warnings that libbpf utters on this thread while it lives. Captures nest. */
class LibbpfLog
{
      public:
	LibbpfLog();
	~LibbpfLog();
	LibbpfLog(const LibbpfLog &) = delete;
	LibbpfLog &operator=(const LibbpfLog &) = delete;

	/* Everything said. */
	const std::string &text() const
	{
		return text_;
	}
	/* The first line, which names the cause, without libbpf's prefix. */
	std::string reason() const;

	void append(const std::string &message)
	{
		text_ += message;
	}

      private:
	LibbpfLog *outer_;
	std::string text_;
};

} // namespace fimbria
