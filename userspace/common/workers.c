// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "workers.h"

struct queue {
	struct workers_job *head, *tail;
};

struct workers {
	pthread_mutex_t lock;		/* guards all below but @fd and @threads */
	pthread_cond_t wake;		/* @waiting has a job, or @ending */
	struct queue waiting, ended;
	bool ending;
	int fd;
	unsigned int count;
	pthread_t threads[];
};

static void queue_put(struct queue *queue, struct workers_job *job)
{
	job->next = NULL;
	if (queue->tail)
		queue->tail->next = job;
	else
		queue->head = job;
	queue->tail = job;
}

static struct workers_job *queue_take(struct queue *queue)
{
	struct workers_job *job = queue->head;

	if (job)
		queue->head = job->next;
	if (!queue->head)
		queue->tail = NULL;
	return job;
}

/* An eventfd's counter cannot overflow from one; there is nothing to do about a failure. */
static void poke(int fd)
{
	const uint64_t one = 1;

	if (write(fd, &one, sizeof(one)) < 0)
		return;
}

static void *serve(void *arg)
{
	struct workers *workers = arg;
	struct workers_job *job;
	bool first;

	pthread_mutex_lock(&workers->lock);
	while (!workers->ending) {
		job = queue_take(&workers->waiting);
		if (!job) {
			pthread_cond_wait(&workers->wake, &workers->lock);
			continue;
		}
		pthread_mutex_unlock(&workers->lock);
		job->run(job);
		pthread_mutex_lock(&workers->lock);
		first = !workers->ended.head;
		queue_put(&workers->ended, job);
		if (first)
			poke(workers->fd);
	}
	pthread_mutex_unlock(&workers->lock);
	return NULL;
}

int workers_create(struct workers **out, unsigned int threads)
{
	struct workers *workers =
		calloc(1, sizeof(*workers) + threads * sizeof(workers->threads[0]));
	int r;

	if (!workers)
		return -ENOMEM;
	pthread_mutex_init(&workers->lock, NULL);
	pthread_cond_init(&workers->wake, NULL);
	workers->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = workers->fd < 0 ? -errno : 0;
	while (!r && workers->count < threads) {
		r = -pthread_create(&workers->threads[workers->count], NULL, serve, workers);
		workers->count += !r;
	}
	if (r) {
		workers_destroy(workers);
		return r;
	}
	*out = workers;
	return 0;
}

void workers_destroy(struct workers *workers)
{
	if (!workers)
		return;
	pthread_mutex_lock(&workers->lock);
	workers->ending = true;
	pthread_cond_broadcast(&workers->wake);
	pthread_mutex_unlock(&workers->lock);
	for (unsigned int i = 0; i < workers->count; i++)
		pthread_join(workers->threads[i], NULL);
	if (workers->fd >= 0)
		close(workers->fd);
	pthread_cond_destroy(&workers->wake);
	pthread_mutex_destroy(&workers->lock);
	free(workers);
}

void workers_put(struct workers *workers, struct workers_job *job)
{
	pthread_mutex_lock(&workers->lock);
	queue_put(&workers->waiting, job);
	pthread_cond_signal(&workers->wake);
	pthread_mutex_unlock(&workers->lock);
}

int workers_fd(const struct workers *workers)
{
	return workers->fd;
}

struct workers_job *workers_take(struct workers *workers)
{
	struct workers_job *job;
	uint64_t count;

	pthread_mutex_lock(&workers->lock);
	job = workers->ended.head;
	workers->ended = (struct queue){ NULL, NULL };
	if (job && read(workers->fd, &count, sizeof(count)) < 0)
		count = 0;	/* already read: the next job that ends pokes again */
	pthread_mutex_unlock(&workers->lock);
	return job;
}
