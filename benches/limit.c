/* The limit that redirects are measured against: one thread, one epoll instance, and the same constant redirect for every request. It looks for the
   blank line that ends a head, and for nothing else. Two system calls a request, like each server that answers from a plain socket.

   cc -O2 -o limit benches/limit.c && ./limit 8080

   It listens on loopback only. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONNECTIONS_MAX = 65536, INPUT_MAX = 8192, PIPELINED_MAX = 64, EVENTS = 1024 };

/* About as long as the answers of Waypost, whose targets have 60 bytes. */
static const char ANSWER[] =
    "HTTP/1.1 302 Found\r\n"
    "content-length: 0\r\n"
    "location: https://www.example.com/articles/2026/worth-a-look/000000000\r\n"
    "cache-control: private, max-age=0\r\n"
    "date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
    "\r\n";

/* The state of a connection: how much of "\r\n\r\n" its last bytes were. */
static unsigned char matched[CONNECTIONS_MAX];

static void die(const char *what) {
    perror(what);
    exit(1);
}

static int listen_on(int port) {
    int one = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (listener < 0) die("socket");
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0) die("bind");
    if (listen(listener, 4096) < 0) die("listen");
    return listener;
}

static void accept_all(int epoll, int listener) {
    int one = 1;
    for (;;) {
        int peer = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
        if (peer < 0) return;
        if (peer >= CONNECTIONS_MAX) {
            close(peer);
            continue;
        }
        setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        matched[peer] = 0;
        struct epoll_event event = {.events = EPOLLIN, .data.fd = peer};
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, peer, &event) < 0) die("epoll_ctl");
    }
}

/* Reads once, and answers all heads that ended in it by one write. The send buffer holds far more than the answers to what is read at once. */
static void serve(int peer, const char *answers) {
    char input[INPUT_MAX];
    ssize_t got = recv(peer, input, sizeof input, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) {
        close(peer);
        return;
    }
    int requests = 0;
    unsigned state = matched[peer];
    for (ssize_t at = 0; at < got; at++) {
        char wanted = state % 2 == 0 ? '\r' : '\n';
        state = input[at] == wanted ? state + 1 : (unsigned)(input[at] == '\r');
        if (state == 4) {
            state = 0;
            requests++;
        }
    }
    matched[peer] = (unsigned char)state;
    while (requests > 0) {
        int now = requests < PIPELINED_MAX ? requests : PIPELINED_MAX;
        size_t size = (size_t)now * (sizeof ANSWER - 1);
        if (send(peer, answers, size, MSG_NOSIGNAL) != (ssize_t)size) {
            close(peer);
            return;
        }
        requests -= now;
    }
}

int main(int count, char **arguments) {
    if (count != 2) {
        fprintf(stderr, "usage: limit PORT\n");
        return 2;
    }
    static char answers[PIPELINED_MAX * sizeof ANSWER];
    for (int at = 0; at < PIPELINED_MAX; at++) memcpy(answers + at * (sizeof ANSWER - 1), ANSWER, sizeof ANSWER - 1);
    int listener = listen_on(atoi(arguments[1]));
    int epoll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, ready[EVENTS];
    if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event) < 0) die("epoll");
    for (;;) {
        int number = epoll_wait(epoll, ready, EVENTS, -1);
        if (number < 0 && errno != EINTR) die("epoll_wait");
        for (int at = 0; at < number; at++) {
            if (ready[at].data.fd == listener) accept_all(epoll, listener);
            else serve(ready[at].data.fd, answers);
        }
    }
}
