// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "guard.h"

#define MAX_QUESTIONS	16			/* to polkit, without an answer */
#define PATIENCE_US	120000000		/* the user may have to type a password */

struct question {
	struct service *service;
	sd_bus_message *call;
	sd_bus_message_handler_t method;
	int (*refuse)(sd_bus_message *m);
};

static void question_free(void *arg)
{
	struct question *question = arg;

	question->service->questions--;
	sd_bus_message_unref(question->call);
	free(question);
}

static int on_answer(sd_bus_message *answer, void *userdata, sd_bus_error *error)
{
	struct question *question = userdata;
	int authorized = 0, challenge, rc;

	/* An error is most often that there is no polkit. */
	if (!sd_bus_message_is_method_error(answer, NULL) &&
	    sd_bus_message_enter_container(answer, 'r', "bba{ss}") > 0 &&
	    sd_bus_message_read(answer, "bb", &authorized, &challenge) < 0)
		authorized = 0;
	rc = authorized && !question->service->stopping ?
		     question->method(question->call, question->service, NULL) :
		     question->refuse(question->call);
	if (rc < 0)
		sd_bus_reply_method_errno(question->call, rc, NULL);
	return 0;
}

static int send_question(struct question *question, const char *action)
{
	sd_bus_message *call = question->call, *ask = NULL;
	bool interactive = sd_bus_message_get_allow_interactive_authorization(call) > 0;
	sd_bus *bus = question->service->bus;
	sd_bus_slot *slot = NULL;
	int rc = sd_bus_message_new_method_call(bus, &ask, "org.freedesktop.PolicyKit1",
						"/org/freedesktop/PolicyKit1/Authority",
						"org.freedesktop.PolicyKit1.Authority",
						"CheckAuthorization");

	if (rc >= 0)
		rc = sd_bus_message_append(ask, "(sa{sv})sa{ss}us", "system-bus-name", 1, "name",
					   "s", sd_bus_message_get_sender(call), action, 0,
					   (uint32_t)interactive, "");
	if (rc >= 0)
		rc = sd_bus_call_async(bus, &slot, ask, on_answer, question, PATIENCE_US);
	if (rc >= 0)	/* the slot lives on its own, and takes the question with it */
		rc = sd_bus_slot_set_floating(slot, 1);
	if (rc >= 0)
		sd_bus_slot_set_destroy_callback(slot, question_free);
	sd_bus_slot_unref(slot);
	sd_bus_message_unref(ask);
	return rc;
}

static int ask_polkit(struct service *service, sd_bus_message *m, const char *action,
		      sd_bus_message_handler_t method, int (*refuse)(sd_bus_message *m))
{
	struct question *question;

	if (service->questions >= MAX_QUESTIONS)
		return refuse(m);
	question = calloc(1, sizeof(*question));
	if (!question)
		return -ENOMEM;
	service->questions++;
	*question = (struct question){ service, sd_bus_message_ref(m), method, refuse };
	if (send_question(question, action) < 0) {
		question_free(question);
		return refuse(m);
	}
	return 1;
}

int guard_call(struct service *service, sd_bus_message *m, const char *action,
	       sd_bus_message_handler_t method, int (*refuse)(sd_bus_message *m))
{
	sd_bus_creds *creds = NULL;
	uid_t uid = -1;
	int rc = sd_bus_query_sender_creds(m, SD_BUS_CREDS_EUID, &creds);

	if (rc >= 0)
		rc = sd_bus_creds_get_euid(creds, &uid);
	sd_bus_creds_unref(creds);
	if (rc < 0)
		return rc;
	/* On a bus of its own the service serves its own user. */
	if (!uid || uid == geteuid())
		return method(m, service, NULL);
	return ask_polkit(service, m, action, method, refuse);
}
