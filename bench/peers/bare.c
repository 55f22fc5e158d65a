// The least that pushing events can cost: a loop of send().
//
//   bare PORT
//
// Accepts streams of Server-Sent Events and answers each with a head. A line `BYTES` on standard input sends
// one event of so many bytes, its time within, to every stream, one send() each; `BYTES COUNT` does it so
// often. It waits for nothing and keeps nothing: a socket that is full loses the event.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static int streams[65536];
static int count;
static long number;

static void answer(int listener) {
    int stream = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (stream < 0) return;
    char request[4096];
    int one = 1;
    setsockopt(stream, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (recv(stream, request, sizeof request, 0) <= 0) { close(stream); return; }
    const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
    send(stream, head, sizeof head - 1, MSG_NOSIGNAL);
    streams[count++] = stream;
}

static void send_event(int size) {
    static char event[65536];
    struct timespec now;
    struct tm date;
    char time[40];
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &date);
    size_t length = strftime(time, sizeof time, "%FT%T", &date);
    snprintf(time + length, sizeof time - length, ".%06ldZ", now.tv_nsec / 1000);
    int head = snprintf(event, sizeof event, "id: 1-%ld\nevent: bench.tick\ndata: {\"time\":\"%s\",\"data\":\"", ++number, time);
    memset(event + head, 'x', size > head + 4 ? size - head - 4 : 0);
    memcpy(event + size - 4, "\"}\n\n", 4);
    for (int i = 0; i < count; i++) send(streams[i], event, size, MSG_NOSIGNAL | MSG_DONTWAIT);
}

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1]))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 4096)) return 1;
    // A line that the library has read ahead is not there for poll().
    setvbuf(stdin, NULL, _IONBF, 0);
    struct pollfd ready[2] = {{listener, POLLIN, 0}, {0, POLLIN, 0}};
    while (poll(ready, 2, -1) > 0) {
        if (ready[0].revents) answer(listener);
        if (ready[1].revents) {
            char line[64];
            int size, times = 1;
            if (!fgets(line, sizeof line, stdin)) return 0;
            if (sscanf(line, "%d %d", &size, &times) < 1) continue;
            while (times-- > 0) send_event(size);
        }
    }
    return 0;
}
