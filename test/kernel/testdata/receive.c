/* Receives datagrams at a unix socket and prints each on a line; "bound" first. */
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

int main(int argc, char **argv)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	char text[4096];

	if (argc != 2 || strlen(argv[1]) >= sizeof(address.sun_path))
		return 2;
	strcpy(address.sun_path, argv[1]);
	if (address.sun_path[0] == '@')
		address.sun_path[0] = 0;
	if (bind(fd, (struct sockaddr *)&address,
		 offsetof(struct sockaddr_un, sun_path) + strlen(argv[1])))
		return perror("bind"), 1;
	puts("bound");
	fflush(stdout);
	for (;;) {
		ssize_t size = recv(fd, text, sizeof(text) - 1, 0);

		if (size < 0)
			return perror("recv"), 1;
		text[size] = 0;
		puts(text);
		fflush(stdout);
	}
}
