/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the plugin reads from others, thrown at it: the configuration, the
 * agent's answer and the environment. Built with sanitizers, it runs as
 *
 *   fuzz mutate SEED ROUNDS   deterministic mutations of good inputs
 *   fuzz json                 documents on stdin, each ended by a NUL; prints `ok` or why, a line each
 *
 * and with clang's -fsanitize=fuzzer -DLIBFUZZER as a libFuzzer target.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "environment.h"
#include "http.h"
#include "json.h"

#define MAX_INPUT 4096

static char fuzzed_text[MAX_INPUT + 1];
static enum cni_variable fuzzed; /* the one that holds it; the others are good */

static char *fuzzed_variable(const char *name)
{
	static char command[] = "ADD", good[] = "/eth0", good_name[] = "eth0";

	if (!strcmp(name, "CNI_COMMAND"))
		return command;
	if (!strcmp(name, environment_name(fuzzed)))
		return fuzzed_text;
	return strcmp(name, "CNI_NETNS") ? good_name : good;
}

/* Whatever passes the checks must be safe in a header. */
static void check_environment(const uint8_t *data, size_t len)
{
	struct environment environment;
	struct failure failure;

	memcpy(fuzzed_text, data, len);
	fuzzed_text[len] = '\0';
	for (fuzzed = 0; fuzzed < CNI_VARIABLES; fuzzed++) {
		if (!environment_read(fuzzed_variable, &environment, &failure))
			continue;
		for (const char *at = environment.values[fuzzed]; at && *at; at++)
			if (*at < ' ' || *at > '~')
				abort();
		if (strlen(environment.values[CNI_VAR_IFNAME]) > 15)
			abort();
	}
}

static void check_config(const uint8_t *data, size_t len)
{
	for (int command = CNI_ADD; command <= CNI_VERSION; command++) {
		struct config config;
		struct failure failure;

		if (config_read((const char *)data, len, command, &config, &failure) &&
		    command != CNI_VERSION && config.socket[0] != '/')
			abort();
		for (const char *at = config.version; *at; at++)
			if (*at < '+' || *at > 'z')
				abort();
	}
}

/* An answer is read the same however it is cut, and what is read is a part of what was sent. */
static void check_answer(const uint8_t *data, size_t len)
{
	struct http_response whole = { 0 }, prefix = { 0 };
	enum http_progress progress = http_parse((const char *)data, len, &whole);

	if (progress == HTTP_COMPLETE && whole.body.len > len)
		abort();
	for (size_t cut = 0; cut < len; cut += 1 + len / 16) {
		enum http_progress early = http_parse((const char *)data, cut, &prefix);

		if (early == HTTP_MALFORMED && progress != HTTP_MALFORMED)
			abort();
	}
	buffer_free(&whole.body);
	buffer_free(&prefix.body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	/* In memory of its own size, so that a byte read too far is seen. */
	uint8_t *copy = len > MAX_INPUT ? NULL : malloc(len ? len : 1);

	if (!copy)
		return 0;
	memcpy(copy, data, len);
	check_config(copy, len);
	check_answer(copy, len);
	check_environment(copy, len);
	free(copy);
	return 0;
}

#ifndef LIBFUZZER
static const char *const seeds[] = {
	"{\"cniVersion\":\"1.0.0\",\"name\":\"fimbria\",\"type\":\"fimbria-cni\",\"socket\":\"/run/x.sock\","
	"\"timeoutMs\":3000,\"prevResult\":{\"ips\":[{\"address\":\"10.0.0.1/32\"}],\"dns\":{}}}",
	"{\"a\":[1,-0.5e+10,true,false,null,\"\\u00e9\\ud83d\\ude00\\n\\\"\"],\"b\":{\"c\":{}}}",
	"HTTP/1.1 200 OK\r\nContent-Length: 14\r\nX: y\r\n\r\n{\"ips\":[1,2]}\n",
	"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 502 Bad\r\nTransfer-Encoding: chunked\r\n\r\n"
	"5;x=y\r\n{\"a\":\r\n2\r\n1}\r\n0\r\nT: r\r\n\r\n",
	"c0ffee-1.2_3",
	"/var/run/netns/cni-1;K8S_POD_NAME=p",
};
static const char *const words[] = {
	"\"",
	"\\",
	"\\u",
	"\\ud800",
	"{",
	"}",
	"[",
	"]",
	",",
	":",
	"\r\n",
	"\r\n\r\n",
	"0\r\n\r\n",
	"Content-Length: ",
	"Transfer-Encoding: chunked\r\n",
	"ffffffff",
	"HTTP/1.1 199 \r\n",
	"\xc3\xa9",
	"\xed\xa0\x80",
	"\xf4\x90",
	"1e999",
	"cniVersion",
	"[[[[[[[[[[[[[[[[[[[[",
};

static uint64_t state;

/* xorshift64*: the same inputs for the same seed on every machine. */
static uint32_t random_below(uint32_t bound)
{
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return (uint32_t)(state * 0x2545f4914f6cdd1dull >> 32) % bound;
}

static void splice(char *text, size_t *len, size_t at, size_t drop, const char *word,
		   size_t word_len)
{
	if (*len - drop + word_len > MAX_INPUT)
		return;
	memmove(text + at + word_len, text + at + drop, *len - at - drop);
	memcpy(text + at, word, word_len);
	*len += word_len - drop;
}

static void mutate(char *text, size_t *len)
{
	size_t at = random_below(*len + 1), left = *len - at;
	const char *word = words[random_below(sizeof(words) / sizeof(*words))];
	char copy[64], byte = random_below(256);
	size_t run;

	switch (random_below(6)) {
	case 0:
		splice(text, len, at, left ? 1 : 0, &byte, 1);
		break;
	case 1:
		splice(text, len, at, 0, word, strlen(word));
		break;
	case 2:
		splice(text, len, at, random_below(left + 1), "", 0);
		break;
	case 3: /* repeat a part */
		run = random_below((left < sizeof(copy) ? left : sizeof(copy)) + 1);
		memcpy(copy, text + at, run);
		splice(text, len, at, 0, copy, run);
		break;
	case 4:
		if (left)
			text[at] ^= 1 << random_below(8);
		break;
	default:
		*len = at;
	}
}

static int run_mutations(uint64_t seed, unsigned long rounds)
{
	static char text[MAX_INPUT];
	size_t len = 0;

	state = seed | 1;
	for (unsigned long round = 0; round < rounds; round++) {
		if (round % 8 == 0) {
			const char *start = seeds[random_below(sizeof(seeds) / sizeof(*seeds))];

			len = strlen(start);
			memcpy(text, start, len);
		}
		mutate(text, &len);
		LLVMFuzzerTestOneInput((const uint8_t *)text, len);
	}
	printf("%lu inputs\n", rounds);
	return 0;
}

static int run_documents(void)
{
	char *document = NULL;
	size_t capacity = 0;
	ssize_t len;

	while ((len = getdelim(&document, &capacity, '\0', stdin)) > 0) {
		struct json_error error;
		struct json_value *root = json_parse(document, len - 1, &error);

		puts(root ? "ok" : error.why);
		json_free(root);
	}
	free(document);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "mutate"))
		return run_mutations(strtoull(argv[2], NULL, 10), strtoul(argv[3], NULL, 10));
	if (argc == 2 && !strcmp(argv[1], "json"))
		return run_documents();
	fputs("usage: fuzz mutate SEED ROUNDS | fuzz json\n", stderr);
	return 2;
}
#endif
