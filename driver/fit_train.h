/* Training and its reports. */
#ifndef CNNC_DRIVER_FIT_TRAIN_H
#define CNNC_DRIVER_FIT_TRAIN_H

#include "driver/fit.h"

typedef struct Report {
    int n;
    struct ReportValue {
        const char *name;
        int64_t count;
        const double *at;
    } *values;
} Report;

/* Runs E.report on these rows; false after an error. */
bool report_run(Session *s, Fit *f, const FitData *d, Report *out);
void report_json(StrBuf *sb, const Report *r);
void report_text(StrBuf *sb, const char *what, const Report *r);

#endif
