// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <time.h>

#include "service.h"

uint64_t service_now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * UINT64_C(1000000) + now.tv_nsec / 1000;
}

enum service_code service_code_of(int error)
{
	switch (-error) {
	case EPERM:
	case EACCES:
		return SERVICE_ACCESS_DENIED;
	case EOPNOTSUPP:
		return SERVICE_NOT_SUPPORTED;
	case EUCLEAN:
		return SERVICE_STATUS_UNKNOWN;
	case ETIMEDOUT:
		return SERVICE_TIMEOUT;
	case EINVAL:
	case ENOTBLK:
		return SERVICE_INVALID_PARAMETER;
	case EBUSY:
	case EEXIST:
		return SERVICE_IN_USE;
	case ESTALE:
	case EROFS:
	case EALREADY:
		return SERVICE_INVALID_STATE;
	case EPROTOTYPE:
		return SERVICE_INCORRECT_TYPE;
	case ECONNREFUSED:
	case ECONNRESET:
	case EHOSTUNREACH:
	case EHOSTDOWN:
	case ENETUNREACH:
	case ENETDOWN:
	case EPIPE:
	case ENOTCONN:
	case ECONNABORTED:
		return SERVICE_NOT_AVAILABLE;
	case ENOMEM:
		return SERVICE_OUT_OF_MEMORY;
	case ENOENT:
	case ENOTDIR:
		return SERVICE_NOT_FOUND;
	default:
		return SERVICE_FAILED;
	}
}
