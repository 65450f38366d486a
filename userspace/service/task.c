// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "task.h"

struct task {
	pthread_t thread;
	int end_fd;			/* eventfd, written when @run has returned */
	sd_event_source *source;	/* of @end_fd */
	unsigned int *running;
	void (*run)(void *arg);
	void (*done)(void *arg);
	void *arg;
};

static void *thread_main(void *arg)
{
	struct task *task = arg;

	task->run(task->arg);
	eventfd_write(task->end_fd, 1);
	return NULL;
}

static void task_free(struct task *task)
{
	sd_event_source_unref(task->source);
	if (task->end_fd >= 0)
		close(task->end_fd);
	free(task);
}

static int on_end(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct task *task = userdata;
	void (*done)(void *arg) = task->done;
	void *arg = task->arg;

	pthread_join(task->thread, NULL);
	(*task->running)--;
	task_free(task);
	done(arg);
	return 0;
}

int task_start(sd_event *loop, unsigned int *running, void (*run)(void *arg),
	       void (*done)(void *arg), void *arg)
{
	struct task *task = calloc(1, sizeof(*task));
	int rc;

	if (!task)
		return -ENOMEM;
	*task = (struct task){ .running = running, .run = run, .done = done, .arg = arg };
	task->end_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rc = task->end_fd < 0 ?
		     -errno :
		     sd_event_add_io(loop, &task->source, task->end_fd, EPOLLIN, on_end, task);
	if (rc >= 0)
		rc = -pthread_create(&task->thread, NULL, thread_main, task);
	if (rc < 0) {
		task_free(task);
		return rc;
	}
	(*running)++;
	return 0;
}
