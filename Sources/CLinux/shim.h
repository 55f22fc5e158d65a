// What the Glibc module lacks: epoll, eventfd, signalfd, and GNU functions that it does not declare.
#pragma once
#pragma clang module import SwiftGlibc

#include <malloc.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <netinet/tcp.h>

extern int accept4(int, struct sockaddr *, socklen_t *, int);
extern long getrandom(void *, size_t, unsigned int);
extern int pthread_setname_np(pthread_t, const char *);
extern int malloc_trim(size_t);
