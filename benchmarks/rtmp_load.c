// rtmp_load: many RTMP players, or many RTMP publishers, on one epoll loop; it shows what a server pays for each.
//
//   cc -O2 -o rtmp_load rtmp_load.c
//   rtmp_load play HOST PORT APP STREAM COUNT SECONDS [PER_SECOND [SLOW SLOW_KBPS]]
//   rtmp_load publish HOST PORT APP STREAM COUNT SECONDS FILE.flv [PER_SECOND]
//
// A player reads and counts. When all are connected it waits 2 s, prints "begin", measures for SECONDS and prints one line
// of name=value. The first SLOW players read no more than SLOW_KBPS each; they are left out of the figures of the others.
// A publisher sends the tags of FILE.flv when they are due, over and over; with COUNT above 1 the stream is STREAM0,
// STREAM1 and so on, and their frames are spread over time. It goes on for SECONDS, or for ever if that is 0.
// PER_SECOND of them connect in a second, or all at once.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum State { CONNECTING, HANDSHAKE, CREATING, STARTING, STREAMING, CLOSED };
enum { HELLO_BYTES = 1537, ANSWER_BYTES = 3073, CHUNK_BYTES = 4096, FIRST_MEDIA_BYTES = 4000 };

typedef struct {
  int fd;
  enum State state;
  size_t step_bytes;          // received in this state
  int results;                // "_result" replies seen
  uint64_t received, before;  // in all, and before the measurement
  double connected, first_media, last_read, worst_gap;
  double start;               // a publisher's zero of time
  size_t tag, sent;           // the tag that a publisher is at, and how much of its message has been sent
  uint32_t loops;
} Peer;

typedef struct {
  uint8_t type;
  uint32_t time_ms, size;
  const uint8_t *body;
} Tag;

static struct {
  const char *app, *stream;
  char tc_url[256];
  int count, publishes, slow;
  double slow_bytes_per_s;
  Peer *peers;
  int epoll;
  Tag *tags;
  size_t tag_count, largest;
  uint32_t duration_ms;
} g;

static uint8_t buffer[1 << 20];

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

static void die(const char *what) {
  fprintf(stderr, "rtmp_load: %s: %s\n", what, strerror(errno));
  exit(2);
}

// AMF0 and messages

static size_t put_key(uint8_t *p, const char *text) {
  size_t n = strlen(text);
  p[0] = n >> 8, p[1] = n;
  memcpy(p + 2, text, n);
  return n + 2;
}
static size_t put_string(uint8_t *p, const char *text) {
  p[0] = 2;
  return 1 + put_key(p + 1, text);
}
static size_t put_number(uint8_t *p, double value) {
  uint64_t bits;
  memcpy(&bits, &value, 8);
  p[0] = 0;
  for (int i = 0; i < 8; i++) p[1 + i] = bits >> (56 - 8 * i);
  return 9;
}
// A message as chunks of chunk_bytes, with a full header.
static size_t put_message(uint8_t *out, int csid, int type, uint32_t stream_id, uint32_t time_ms, const uint8_t *body,
                          size_t size, size_t chunk_bytes) {
  int extended = time_ms >= 0xffffff;
  uint32_t field = extended ? 0xffffff : time_ms;
  size_t k = 0;
  out[k++] = csid;
  out[k++] = field >> 16, out[k++] = field >> 8, out[k++] = field;
  out[k++] = size >> 16, out[k++] = size >> 8, out[k++] = size, out[k++] = type;
  for (int i = 0; i < 4; i++) out[k++] = stream_id >> (8 * i);
  for (size_t i = 0; i < size || i == 0;) {
    size_t n = size - i > chunk_bytes ? chunk_bytes : size - i;
    if (i) out[k++] = 0xC0 | csid;
    if (extended) out[k++] = time_ms >> 24, out[k++] = time_ms >> 16, out[k++] = time_ms >> 8, out[k++] = time_ms;
    memcpy(out + k, body + i, n);
    k += n, i += n;
    if (!size) break;
  }
  return k;
}
static void put_out(Peer *p, const uint8_t *data, size_t size) {
  if (send(p->fd, data, size, MSG_NOSIGNAL) != (ssize_t)size) errno = EPIPE;
}

static void say_connect(Peer *p) {
  uint8_t body[1024], out[2048], window[4] = {0x7f, 0xff, 0xff, 0xff}, chunk[4] = {0, 0, CHUNK_BYTES >> 8, 0};
  size_t n = put_string(body, "connect");
  n += put_number(body + n, 1);
  body[n++] = 3;
  n += put_key(body + n, "app"), n += put_string(body + n, g.app);
  n += put_key(body + n, "flashVer"), n += put_string(body + n, g.publishes ? "FMLE/3.0" : "LNX 9,0,124,2");
  n += put_key(body + n, "tcUrl"), n += put_string(body + n, g.tc_url);
  body[n++] = 0, body[n++] = 0, body[n++] = 9;
  size_t k = put_message(out, 3, 20, 0, 0, body, n, 128);
  k += put_message(out + k, 2, 5, 0, 0, window, 4, 128);
  k += put_message(out + k, 2, 1, 0, 0, chunk, 4, 128);
  n = put_string(body, "createStream");
  n += put_number(body + n, 2);
  body[n++] = 5;
  k += put_message(out + k, 3, 20, 0, 0, body, n, CHUNK_BYTES);
  put_out(p, out, k);
}
static void say_play(Peer *p) {
  uint8_t body[1024], out[2048], length[10] = {0, 3, 0, 0, 0, 1, 0, 0, 0x0b, 0xb8};
  size_t n = put_string(body, "play");
  n += put_number(body + n, 0);
  body[n++] = 5;
  n += put_string(body + n, g.stream);
  n += put_number(body + n, -2000);
  size_t k = put_message(out, 8, 20, 1, 0, body, n, CHUNK_BYTES);
  k += put_message(out + k, 2, 4, 0, 0, length, 10, CHUNK_BYTES);
  put_out(p, out, k);
}
static void say_publish(Peer *p) {
  uint8_t body[1024], out[2048];
  char name[256];
  if (g.count > 1) snprintf(name, sizeof name, "%s%d", g.stream, (int)(p - g.peers));
  else snprintf(name, sizeof name, "%s", g.stream);
  size_t n = put_string(body, "publish");
  n += put_number(body + n, 3);
  body[n++] = 5;
  n += put_string(body + n, name);
  n += put_string(body + n, "live");
  put_out(p, out, put_message(out, 8, 20, 1, 0, body, n, CHUNK_BYTES));
}

// Publishing

static void read_tags(const char *path) {
  int fd = open(path, O_RDONLY);
  struct stat about;
  if (fd < 0 || fstat(fd, &about)) die(path);
  uint8_t *file = malloc(about.st_size), *p = file + 13, *end = file + about.st_size;
  if (read(fd, file, about.st_size) != about.st_size) die(path);
  close(fd);
  g.tags = calloc(about.st_size / 12, sizeof *g.tags);
  for (; p + 11 <= end; p += 11 + g.tags[g.tag_count++].size + 4) {
    Tag *t = &g.tags[g.tag_count];
    t->type = p[0], t->size = p[1] << 16 | p[2] << 8 | p[3];
    t->time_ms = (uint32_t)p[7] << 24 | p[4] << 16 | p[5] << 8 | p[6];
    t->body = p + 11;
    if (t->body + t->size > end) break;
    if (t->size > g.largest) g.largest = t->size;
    if (t->time_ms > g.duration_ms) g.duration_ms = t->time_ms;
  }
  g.duration_ms += 33;
}
// Send what is due; return how many seconds until more is.
static double publish_due(Peer *p, double t) {
  static uint8_t *message;
  if (!message) message = malloc(g.largest * 2 + 64);
  for (;;) {
    Tag *tag = &g.tags[p->tag];
    uint32_t time_ms = tag->time_ms + p->loops * g.duration_ms;
    double due = p->start + time_ms / 1e3;
    if (!p->sent && due > t) return due - t;
    if (p->loops && tag->body[1] == 0 && tag->type != 18) goto next;  // a configuration, which has been sent
    size_t size = put_message(message, tag->type == 8 ? 4 : tag->type == 9 ? 6 : 5, tag->type, 1, time_ms, tag->body,
                              tag->size, CHUNK_BYTES);
    ssize_t n = send(p->fd, message + p->sent, size - p->sent, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN) {
      p->state = CLOSED;
      return 1;
    }
    if (n > 0) p->sent += n;
    if (p->sent < size) return 0.005;
  next:
    p->sent = 0;
    if (++p->tag == g.tag_count) p->tag = 0, p->loops++;
  }
}

// Both

static void open_peer(Peer *p, struct sockaddr_in *address) {
  int one = 1, small = 65536;
  p->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (p->fd < 0) die("socket");
  setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (p - g.peers < g.slow) setsockopt(p->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
  connect(p->fd, (struct sockaddr *)address, sizeof *address);
  p->connected = now();
  struct epoll_event e = {.events = EPOLLOUT | EPOLLIN, .data.u32 = p - g.peers};
  epoll_ctl(g.epoll, EPOLL_CTL_ADD, p->fd, &e);
}
static void advance(Peer *p, size_t got, double t) {
  p->step_bytes += got;
  if (p->state == HANDSHAKE && p->step_bytes >= ANSWER_BYTES) {
    static const uint8_t echo[1536];
    put_out(p, echo, sizeof echo);
    say_connect(p);
    p->state = CREATING, p->step_bytes = 0;
  } else if (p->state == CREATING) {
    for (uint8_t *at = buffer; (at = memmem(at, buffer + got - at, "_result", 7)); at += 7) p->results++;
    if (p->results < 2) return;
    g.publishes ? say_publish(p) : say_play(p);
    p->state = STARTING, p->step_bytes = 0;
  } else if (p->state == STARTING && g.publishes) {
    p->state = STREAMING, p->start = t + (double)(p - g.peers) / g.count * 0.033;
  } else if (p->state == STARTING && p->step_bytes > FIRST_MEDIA_BYTES) {
    p->state = STREAMING, p->first_media = p->last_read = t;
    if (p - g.peers < g.slow) epoll_ctl(g.epoll, EPOLL_CTL_DEL, p->fd, 0);
  }
}
static void read_peer(Peer *p, size_t most, double t) {
  ssize_t got = recv(p->fd, buffer, most, 0);
  if (got < 0 && errno == EAGAIN) return;
  if (got <= 0) {
    close(p->fd);
    p->state = CLOSED;
    return;
  }
  p->received += got;
  if (p->state == STREAMING) {
    if (t - p->last_read > p->worst_gap) p->worst_gap = t - p->last_read;
    p->last_read = t;
  } else {
    advance(p, got, t);
  }
}
static void turn(double t, int wait_ms) {
  struct epoll_event events[512];
  int ready = epoll_wait(g.epoll, events, 512, wait_ms);
  for (int i = 0; i < ready; i++) {
    Peer *p = &g.peers[events[i].data.u32];
    if (p->state == CLOSED) continue;
    if (p->state == CONNECTING && events[i].events & EPOLLOUT) {
      static const uint8_t hello[HELLO_BYTES] = {3};
      put_out(p, hello, sizeof hello);
      p->state = HANDSHAKE;
      struct epoll_event e = {.events = EPOLLIN, .data.u32 = events[i].data.u32};
      epoll_ctl(g.epoll, EPOLL_CTL_MOD, p->fd, &e);
    } else if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
      read_peer(p, sizeof buffer, t);
    }
  }
}
static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}
static double at(double *sorted, int count, double part) {
  return count ? sorted[(int)((count - 1) * part)] : -1;
}

static int play(double seconds, int per_second, struct sockaddr_in *address) {
  double start = now(), begin = 0, end = 0, t, slow_at = start;
  int opened = 0, measuring = 0;
  while (t = now(), !end || t < end) {
    for (; opened < g.count && opened < (t - start) * per_second + 1; opened++) open_peer(&g.peers[opened], address);
    if (opened == g.count && !end) begin = t + 2, end = begin + seconds;
    if (end && t >= begin && !measuring) {
      measuring = 1, begin = t, end = t + seconds;
      printf("begin\n"), fflush(stdout);
      for (int i = 0; i < g.count; i++) g.peers[i].before = g.peers[i].received, g.peers[i].worst_gap = 0;
    }
    turn(t, 5);
    if (g.slow && t - slow_at > 0.02) {
      for (int i = 0; i < g.slow; i++)
        if (g.peers[i].state == STREAMING) read_peer(&g.peers[i], (t - slow_at) * g.slow_bytes_per_s + 1, t);
      slow_at = t;
    }
  }
  double elapsed = now() - begin, *first = calloc(g.count, 8), *gaps = calloc(g.count, 8), least = 1e18, most = 0, sum = 0;
  int started = 0, alive = 0, slow_alive = 0, normal = g.count - g.slow;
  for (int i = 0; i < g.count; i++) {
    Peer *p = &g.peers[i];
    if (i < g.slow) {
      slow_alive += p->state == STREAMING;
      continue;
    }
    double mbps = (p->received - p->before) * 8 / elapsed / 1e6;
    sum += mbps;
    if (mbps < least) least = mbps;
    if (mbps > most) most = mbps;
    if (p->first_media) gaps[started] = p->worst_gap * 1e3, first[started++] = (p->first_media - p->connected) * 1e3;
    alive += p->state == STREAMING;
  }
  qsort(first, started, 8, ascending);
  qsort(gaps, started, 8, ascending);
  printf("viewers=%d alive=%d slow_alive=%d mbps=%.3f least_mbps=%.3f most_mbps=%.3f first_ms_p50=%.1f first_ms_p99=%.1f "
         "worst_gap_ms_p50=%.0f worst_gap_ms_p99=%.0f worst_gap_ms_max=%.0f\n",
         normal, alive, slow_alive, normal ? sum / normal : 0, normal ? least : 0, most, at(first, started, .5),
         at(first, started, .99), at(gaps, started, .5), at(gaps, started, .99), at(gaps, started, 1));
  return alive != normal;
}

static int publish(double seconds, double per_second, struct sockaddr_in *address) {
  double start = now(), t;
  int alive = 0, opened = 0;
  while (t = now(), seconds == 0 || t < start + seconds) {
    for (; opened < g.count && opened < (t - start) * per_second + 1; opened++) open_peer(&g.peers[opened], address);
    double wait = 0.1;
    alive = 0;
    for (int i = 0; i < g.count; i++) {
      Peer *p = &g.peers[i];
      if (p->state == STREAMING) {
        double next = publish_due(p, t);
        if (next < wait) wait = next;
      }
      alive += p->state != CLOSED;
    }
    if (!alive) break;
    turn(t, wait * 1e3 + 1);
  }
  printf("publishers=%d alive=%d\n", g.count, alive);
  return alive != g.count;
}

int main(int argc, char **argv) {
  if (argc < 8 || (strcmp(argv[1], "play") && (strcmp(argv[1], "publish") || argc < 9)))
    return fprintf(stderr, "usage: rtmp_load play HOST PORT APP STREAM COUNT SECONDS [PER_SECOND [SLOW SLOW_KBPS]]\n"
                           "       rtmp_load publish HOST PORT APP STREAM COUNT SECONDS FILE.flv [PER_SECOND]\n"), 2;
  struct rlimit files = {65536, 65536};
  setrlimit(RLIMIT_NOFILE, &files);
  signal(SIGPIPE, SIG_IGN);
  g.app = argv[4], g.stream = argv[5], g.count = atoi(argv[6]), g.publishes = argv[1][1] == 'u';
  g.slow = !g.publishes && argc > 9 ? atoi(argv[9]) : 0;
  g.slow_bytes_per_s = !g.publishes && argc > 10 ? atof(argv[10]) * 125 : 0;
  snprintf(g.tc_url, sizeof g.tc_url, "rtmp://%s:%s/%s", argv[2], argv[3], g.app);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[3]))};
  if (inet_pton(AF_INET, argv[2], &address.sin_addr) != 1) die(argv[2]);
  g.peers = calloc(g.count, sizeof *g.peers);
  g.epoll = epoll_create1(0);
  if (g.publishes) read_tags(argv[8]);
  if (g.publishes) return publish(atof(argv[7]), argc > 9 ? atof(argv[9]) : 1e9, &address);
  return play(atof(argv[7]), argc > 8 ? atoi(argv[8]) : 300, &address);
}
