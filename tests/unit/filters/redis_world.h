/* A real redis-server on a Unix socket in a folder of its own, which dies with the test. */
#ifndef TR_TESTS_UNIT_FILTERS_REDIS_WORLD_H
#define TR_TESTS_UNIT_FILTERS_REDIS_WORLD_H

#include "test.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define REDIS_SERVER "/usr/bin/redis-server"

static struct {
    pid_t pid;
    char dir[64], path[96];
} redis;

static inline bool redis_is_here(void)
{
    return access(REDIS_SERVER, X_OK) == 0;
}

/* One inline command on a connection of its own; the first bytes of the answer. -1: not there. */
static inline int redis_try(const char *commands, char *answer, size_t cap)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    struct timeval limit = {.tv_sec = 20};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    (void)snprintf(un.sun_path, sizeof un.sun_path, "%s", redis.path);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    ssize_t n = -1;
    if (connect(fd, (const struct sockaddr *)&un, sizeof un) == 0 &&
        send(fd, commands, strlen(commands), MSG_NOSIGNAL) == (ssize_t)strlen(commands)) {
        (void)shutdown(fd, SHUT_WR);
        size_t got = 0;
        while (got + 1 < cap && (n = recv(fd, answer + got, cap - 1 - got, 0)) > 0)
            got += (size_t)n;
        answer[got] = 0;
        n = got ? 0 : -1;
    }
    (void)close(fd);
    return (int)n;
}

static inline const char *redis_say(const char *commands)
{
    static char answer[4096];
    assert_int_equal(redis_try(commands, answer, sizeof answer), 0);
    return answer;
}

static inline void redis_start(const char *password)
{
    char answer[256];
    (void)snprintf(redis.path, sizeof redis.path, "%s/s", redis.dir);
    redis.pid = fork();
    assert_true(redis.pid >= 0);
    if (redis.pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)!freopen("/dev/null", "w", stdout);
        (void)execl(REDIS_SERVER, "redis-server", "--port", "0", "--unixsocket", redis.path,
                    "--save", "", "--appendonly", "no", "--dir", redis.dir, "--requirepass",
                    password, (char *)NULL);
        _exit(127);
    }
    for (int i = 0; i < 4000; i++) {
        if (redis_try("PING\r\n", answer, sizeof answer) == 0)
            return;
        assert_int_equal(waitpid(redis.pid, NULL, WNOHANG), 0);
        (void)nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    }
    fail_msg("redis-server does not answer");
}

static inline void redis_stop(void)
{
    if (redis.pid > 0) {
        (void)kill(redis.pid, SIGKILL);
        (void)waitpid(redis.pid, NULL, 0);
    }
    redis.pid = 0;
    (void)unlink(redis.path);
}

static inline void redis_dir_make(void)
{
    (void)snprintf(redis.dir, sizeof redis.dir, "/tmp/transom-redis-XXXXXX");
    assert_non_null(mkdtemp(redis.dir));
}

static inline void redis_dir_remove(void)
{
    (void)rmdir(redis.dir);
}

#endif
