/* SPDX-License-Identifier: Apache-2.0 */
#include "utf8.h"

size_t utf8_length(const char *text, const char *end)
{
	const unsigned char *byte = (const unsigned char *)text;
	unsigned char low = 0x80, high = 0xbf; /* bounds of the second byte */
	size_t bytes;

	if (byte[0] < 0x80)
		return 1;
	if (byte[0] >= 0xc2 && byte[0] <= 0xdf)
		bytes = 2;
	else if (byte[0] >= 0xe0 && byte[0] <= 0xef)
		bytes = 3;
	else if (byte[0] >= 0xf0 && byte[0] <= 0xf4)
		bytes = 4;
	else
		return 0;
	if ((size_t)(end - text) < bytes)
		return 0;
	if (byte[0] == 0xe0)
		low = 0xa0;
	else if (byte[0] == 0xed)
		high = 0x9f;
	else if (byte[0] == 0xf0)
		low = 0x90;
	else if (byte[0] == 0xf4)
		high = 0x8f;
	if (byte[1] < low || byte[1] > high)
		return 0;
	for (size_t i = 2; i < bytes; i++)
		if ((byte[i] & 0xc0) != 0x80)
			return 0;
	return bytes;
}

size_t utf8_encode(uint32_t code, char *out)
{
	if (code < 0x80) {
		out[0] = code;
		return 1;
	}
	if (code < 0x800) {
		out[0] = 0xc0 | code >> 6;
		out[1] = 0x80 | (code & 0x3f);
		return 2;
	}
	if (code < 0x10000) {
		out[0] = 0xe0 | code >> 12;
		out[1] = 0x80 | (code >> 6 & 0x3f);
		out[2] = 0x80 | (code & 0x3f);
		return 3;
	}
	out[0] = 0xf0 | code >> 18;
	out[1] = 0x80 | (code >> 12 & 0x3f);
	out[2] = 0x80 | (code >> 6 & 0x3f);
	out[3] = 0x80 | (code & 0x3f);
	return 4;
}
