/* SPDX-License-Identifier: Apache-2.0 */
#include "libbpf_log.h"

#include <cstdarg>
#include <cstdio>
#include <mutex>

#include <bpf/libbpf.h>

namespace fimbria
{

static thread_local LibbpfLog *current = nullptr;

static int Print(enum libbpf_print_level level, const char *format, va_list args)
{
	if (!current || level != LIBBPF_WARN)
		return 0;
	va_list again;
	va_copy(again, args);
	int length = vsnprintf(nullptr, 0, format, args);
	if (length > 0) {
		std::string message(length + 1, '\0');
		vsnprintf(message.data(), message.size(), format, again);
		message.pop_back();
		current->append(message);
	}
	va_end(again);
	return length;
}

void InstallLibbpfLog()
{
	static std::once_flag once;
	std::call_once(once, [] { libbpf_set_print(Print); });
}

LibbpfLog::LibbpfLog() : outer_(current)
{
	current = this;
}

LibbpfLog::~LibbpfLog()
{
	current = outer_;
}

std::string LibbpfLog::reason() const
{
	std::string line = text_.substr(0, text_.find('\n'));
	const std::string prefix = "libbpf: ";
	return line.compare(0, prefix.size(), prefix) == 0 ? line.substr(prefix.size()) : line;
}

} // namespace fimbria
