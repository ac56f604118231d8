// herd: N viewers ask for the same URL at the same moment, to see how a cache takes a stampede.
//
//   cc -O2 -o herd herd.c
//   herd HOST PORT PATH N [TIMEOUT_SECONDS]
//
// All connections are opened first; then the same GET goes out on each. It prints how many got a whole 200 answer
// (by Content-Length), and the time from its request to the first byte of the header and to the last of the body; then
// the monotonic clock, in seconds, at the first request and at the last byte of all.
// Exit status 0 when every one was whole. Count the requests that reached the upstream on the upstream's side.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

typedef struct {
  int fd, status, whole, done, header_bytes;
  char header[4096];
  long expected, received;
  double t_sent, t_first, t_last;
} Viewer;

static double now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}
static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

int main(int argc, char **argv) {
  if (argc < 5) return fprintf(stderr, "usage: herd HOST PORT PATH N [TIMEOUT_SECONDS]\n"), 2;
  int n = atoi(argv[4]), epoll = epoll_create1(0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[2]))};
  inet_pton(AF_INET, argv[1], &address.sin_addr);
  Viewer *viewers = calloc(n, sizeof *viewers);
  for (int i = 0; i < n; i++) {
    viewers[i].fd = socket(AF_INET, SOCK_STREAM, 0);
    viewers[i].expected = -1;
    if (connect(viewers[i].fd, (struct sockaddr *)&address, sizeof address)) return perror("connect"), 1;
    struct epoll_event e = {.events = EPOLLIN, .data.u32 = i};
    epoll_ctl(epoll, EPOLL_CTL_ADD, viewers[i].fd, &e);
  }
  usleep(300000);
  char request[1024];
  int length = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: herd\r\nAccept: */*\r\n\r\n", argv[3], argv[1]);
  for (int i = 0; i < n; i++) viewers[i].t_sent = now_ms(), send(viewers[i].fd, request, length, MSG_NOSIGNAL);
  static char buffer[1 << 20];
  int left = n;
  double deadline = now_ms() + (argc > 5 ? atof(argv[5]) : 20) * 1e3;
  while (left && now_ms() < deadline) {
    struct epoll_event events[256];
    int ready = epoll_wait(epoll, events, 256, 100);
    for (int k = 0; k < ready; k++) {
      Viewer *v = &viewers[events[k].data.u32];
      ssize_t r = recv(v->fd, buffer, sizeof buffer, MSG_DONTWAIT);
      if (r < 0 && errno == EAGAIN) continue;
      long body = r;
      if (r > 0 && v->expected == -1) {
        int before = v->header_bytes, take = r > 4095 - before ? 4095 - before : r;
        memcpy(v->header + before, buffer, take);
        v->header_bytes += take;
        char *end = strstr(v->header, "\r\n\r\n"), *field = strcasestr(v->header, "content-length:");
        if (!end) continue;
        v->t_first = now_ms(), v->status = atoi(v->header + 9);
        v->expected = field ? atol(field + 15) : -2;
        body = r - ((end + 4 - v->header) - before);
      }
      v->received += body > 0 ? body : 0;
      if (v->expected >= 0 && v->received >= v->expected) v->whole = v->status == 200, v->t_last = now_ms();
      if (r <= 0 || v->t_last) epoll_ctl(epoll, EPOLL_CTL_DEL, v->fd, 0), v->done = 1, left--;
    }
  }
  double *first = malloc(n * sizeof *first), *last = malloc(n * sizeof *last);
  int ok = 0;
  for (int i = 0; i < n; i++)
    if (viewers[i].whole) first[ok] = viewers[i].t_first - viewers[i].t_sent, last[ok++] = viewers[i].t_last - viewers[i].t_sent;
  double *began = malloc(n * sizeof *began);
  int answered = 0;
  for (int i = 0; i < n; i++)
    if (viewers[i].whole) began[answered++] = viewers[i].t_first;
  qsort(began, answered, sizeof *began, ascending);
  qsort(first, ok, sizeof *first, ascending);
  qsort(last, ok, sizeof *last, ascending);
  if (!ok) return printf("n=%d ok=0 status=%d\n", n, viewers[0].status), 1;
  double asked = viewers[0].t_sent, done = 0;
  for (int i = 0; i < n; i++) done = viewers[i].t_last > done ? viewers[i].t_last : done;
  printf("n=%d ok=%d bad=%d first_ms p50=%.0f p99=%.0f max=%.0f whole_ms p50=%.0f p99=%.0f max=%.0f asked_s=%.6f began_s=%.6f done_s=%.6f\n",
         n, ok, n - ok, first[ok / 2], first[(int)(ok * .99)], first[ok - 1], last[ok / 2], last[(int)(ok * .99)],
         last[ok - 1], asked / 1e3, began[(int)(ok * .99)] / 1e3, done / 1e3);
  return ok != n;
}
