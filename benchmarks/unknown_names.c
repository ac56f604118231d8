// unknown_names: ask for a name that nobody has used before with every request, over connections that are kept.
//
//   cc -O2 -o unknown_names unknown_names.c
//   unknown_names PORT PATH CONNECTIONS REQUESTS SECONDS [FIELD]
//
// PATH has one %ld, where a number goes that is another in each request, such as /live/x%ld.flv; FIELD is one more
// header line. It stops after so many requests or seconds, whichever comes first, and prints the answers by status,
// the time they took in all, and how long the middle one and the slowest in a hundred were waited for.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SAMPLES 1000000

typedef struct {
  int fd, length;
  double asked;
  char answer[8192];
} Peer;

static const char *path, *field;
static long asked, limit;
static double samples[SAMPLES];

static double now_s(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}
static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}
static void ask(Peer *peer) {
  char target[512], request[2048];
  if (asked >= limit) return;
  snprintf(target, sizeof target, path, asked++ + (long)getpid() * 100000000);
  int length = snprintf(request, sizeof request,
    "GET %s HTTP/1.1\r\nHost: bench\r\nUser-Agent: names\r\nAccept: */*\r\n%s%s\r\n", target, field, *field ? "\r\n" : "");
  peer->length = 0, peer->asked = now_s();
  if (send(peer->fd, request, length, MSG_NOSIGNAL) != length) perror("send"), exit(1);
}

int main(int argc, char **argv) {
  if (argc < 6) return fprintf(stderr, "usage: unknown_names PORT PATH CONNECTIONS REQUESTS SECONDS [FIELD]\n"), 2;
  int count = atoi(argv[3]), epoll = epoll_create1(0), one = 1;
  path = argv[2], limit = atol(argv[4]), field = argc > 6 ? argv[6] : "";
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1]))};
  inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
  Peer *peers = calloc(count, sizeof *peers);
  for (int i = 0; i < count; i++) {
    peers[i].fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(peers[i].fd, (struct sockaddr *)&address, sizeof address)) return perror("connect"), 1;
    setsockopt(peers[i].fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct epoll_event e = {.events = EPOLLIN, .data.u32 = i};
    epoll_ctl(epoll, EPOLL_CTL_ADD, peers[i].fd, &e);
  }
  long answered = 0, lost = 0, statuses[600] = {0};
  double began = now_s(), until = began + atof(argv[5]), now = began;
  for (int i = 0; i < count; i++) ask(&peers[i]);
  while (answered + lost < limit && now < until) {
    struct epoll_event events[256];
    int ready = epoll_wait(epoll, events, 256, 100);
    now = now_s();
    for (int k = 0; k < ready; k++) {
      Peer *peer = &peers[events[k].data.u32];
      ssize_t got = recv(peer->fd, peer->answer + peer->length, sizeof peer->answer - 1 - peer->length, 0);
      if (got <= 0) { epoll_ctl(epoll, EPOLL_CTL_DEL, peer->fd, 0), lost++; continue; }
      peer->length += got, peer->answer[peer->length] = 0;
      char *end = strstr(peer->answer, "\r\n\r\n"), *size = strcasestr(peer->answer, "content-length:");
      if (!end || peer->length < end + 4 - peer->answer + (size && size < end ? atol(size + 15) : 0)) continue;
      int status = atoi(peer->answer + 9);
      samples[answered % SAMPLES] = now - peer->asked, answered++, statuses[status < 600 ? status : 599]++;
      ask(peer);
    }
  }
  double took = now_s() - began;
  long kept = answered < SAMPLES ? answered : SAMPLES;
  if (!kept) return printf("no answers\n"), 1;
  qsort(samples, kept, sizeof *samples, ascending);
  printf("answered=%ld lost=%ld seconds=%.3f per_s=%.0f p50_ms=%.2f p99_ms=%.2f statuses=", answered, lost, took,
         answered / took, samples[kept / 2] * 1e3, samples[(long)(kept * .99)] * 1e3);
  for (int i = 0; i < 600; i++) if (statuses[i]) printf("%d:%ld,", i, statuses[i]);
  return printf("\n"), 0;
}
