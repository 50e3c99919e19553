/* Private to config/: the tables of the pipeline's keys, which those of the file and of policies
 * refer to. */
#ifndef TR_CONFIG_TABLES_H
#define TR_CONFIG_TABLES_H

#include "config/keys.h"

extern const struct tr_keys tr_keys_circuit_breaker, tr_keys_outlier_detection,
    tr_keys_health_check, tr_keys_retry_budget;
extern const struct tr_keys tr_keys_authentication, tr_keys_quota_store, tr_keys_load_shedding,
    tr_keys_access_log;
extern const struct tr_keys tr_keys_policy_authentication, tr_keys_policy_authorization,
    tr_keys_policy_quota, tr_keys_policy_retry, tr_keys_policy_cors, tr_keys_policy_ip;

#endif
